"""One HTTP/1.1 connection to one checked address, for one exchange of request and response after another.

Everything that a receiver can send has a limit here: head, number of headers, interim responses, body, framing. The response counts once
its head is complete; of its body is kept what can be read. Bare line feeds and folded headers are read (RFC 9112), other parsing is strict.
A response whose body is cut or broken, surplus bytes, and bytes without a request, end the connection: they must never be taken for the
response to another request.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

import httptools

from webhooks.http_client.responses import BODY_BYTES_MAX, BODY_FAULTS, RETRY_AFTER_LENGTH_MAX, Cause, Response

HEAD_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100
# A response with its framing: a chunk of one byte takes six.
RECEIVED_BYTES_MAX = HEAD_BYTES_MAX + 8 * BODY_BYTES_MAX
_HEADER_FRAMING_BYTES = 4
_BEGINNING = b"HTTP/"
_VERSIONS = ("1.1", "1.0")
_SWITCHING_PROTOCOLS = 101


class Connection(asyncio.Protocol):
    """A connection for one exchange at a time, started by `begin`.

    `closed` is called once when the connection has ended for any reason, after the end of its exchange.
    """

    # State of the present exchange, or of the last one: `_reset` clears it.
    _status: int | None
    _retry_after: bytes
    _coding: bytes
    _parts: list[bytes]
    _refusal: Cause | None
    _headers: int
    _head_bytes: int
    _body_bytes: int
    _received_bytes: int
    _head_complete: bool
    _delimited: bool
    _complete: bool
    _surplus: bool
    _keep_alive: bool

    def __init__(self, address: str, closed: Callable[["Connection"], None]):
        self.address = address
        self.reusable = False
        """True if another exchange may follow the one that has ended."""
        self.first_byte: float | None = None
        """When the response of the present exchange, or of the last one, began (`time.monotonic`)."""
        self._closed = closed
        self._lost = False
        self._unsolicited = False
        self._ended: Callable[[Response], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        # `lenient_headers` is for folded ones; what else it lets pass is refused in `on_header`.
        self._parser.set_dangerous_leniencies(lenient_headers=True, lenient_optional_cr_before_lf=True)
        self._reset()

    def begin(self, request: bytes, ended: Callable[[Response], None]) -> None:
        """Send a request. `ended` is called exactly once with the response, after this has returned, unless `abort` is called first."""
        assert self._ended is None
        self._reset()
        self._ended = ended
        if self._lost:
            asyncio.get_running_loop().call_soon(self._end_with, self._cause_of_end())
        elif self._transport is not None:
            # If the transport is closing, `connection_lost` will follow.
            self._transport.write(request)

    def so_far(self, cause: Cause) -> Response:
        """The response as far as it was received, ended for this cause. Once the head is complete, it is a fault of the body alone."""
        if self._head_complete:
            return self._response()._replace(fault=BODY_FAULTS.get(cause, cause))
        return Response(cause, self._status, self._kept_retry_after(), untouched=self.first_byte is None)

    def close(self) -> None:
        """Close an idle connection."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once; the exchange in progress gets no response."""
        self._ended = None
        if self._transport is not None:
            self._transport.abort()

    # -- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transport of uvloop is one, but not a subclass.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._ended is None:
            # These bytes could be taken for the response to the next request.
            self._unsolicited = True
            self.abort()
            return
        if self.first_byte is None:
            self.first_byte = time.monotonic()
            if not _BEGINNING.startswith(data[: len(_BEGINNING)]):
                # The parser accepts other protocols that look like HTTP.
                self._end_with("protocol")
                return
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # After the end of the response the bytes are surplus, whatever they are.
            if not self._complete:
                self._refusal = self._refusal or "protocol"
            self._surplus = True
        received_max = RECEIVED_BYTES_MAX if self._head_complete else HEAD_BYTES_MAX
        if self._received_bytes > received_max or self._head_bytes > HEAD_BYTES_MAX:
            self._refusal = self._refusal or "too_large"
        if self._refusal is not None:
            self._end_with(self._refusal)
        elif self._complete:
            self._finish(self._response())

    def eof_received(self) -> None:
        if self._ended is None:
            return
        if self._head_complete and not self._delimited and self._refusal is None:
            # A response without a length ends with its connection.
            self._complete = True
            self._finish(self._response())
        else:
            self._end_with(self._cause_of_end())

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if self._ended is not None:
            self._end_with(self._cause_of_end())
        self._closed(self)

    # -- called by the parser

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._head_bytes += len(name) + len(value) + _HEADER_FRAMING_BYTES
        if self._headers > HEADERS_MAX:
            self._refusal = "too_large"
        if b"\x00" in value or b" " in name:
            self._refusal = "protocol"
        if self._head_complete or self._surplus:
            # Trailers are ignored.
            return
        match name.lower():
            case b"content-length":
                self._delimited = True
            case b"transfer-encoding":
                self._delimited = value.lower().rpartition(b",")[2].strip() == b"chunked"
            case b"content-encoding":
                self._coding = value
            case b"retry-after":
                self._retry_after = value

    def on_headers_complete(self) -> None:
        if self._surplus:
            return
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refusal = "too_large"
        if self._refusal is not None:
            return
        status = self._parser.get_status_code()
        odd = not 100 <= status <= 599 or status == _SWITCHING_PROTOCOLS
        if odd or self._parser.get_http_version() not in _VERSIONS:
            self._refusal = "protocol"
        elif status < 200:
            # An interim response: the final one follows. Their heads count together towards `HEAD_BYTES_MAX`, so that they cannot go on for
            # ever.
            self._coding, self._retry_after, self._delimited = b"", b"", False
        else:
            self._head_complete = True
            self._status = status

    def on_body(self, part: bytes) -> None:
        if self._surplus:
            return
        self._body_bytes += len(part)
        if self._body_bytes > BODY_BYTES_MAX:
            self._refusal = "too_large"
            part = part[: max(0, BODY_BYTES_MAX - (self._body_bytes - len(part)))]
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._head_complete and not self._surplus:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()

    # -- the exchange

    def _reset(self) -> None:
        self.first_byte = None
        self.reusable = False
        self._status = None
        self._retry_after = b""
        self._coding = b""
        self._parts = []
        self._headers = self._head_bytes = self._body_bytes = self._received_bytes = 0
        self._head_complete = self._delimited = self._complete = self._surplus = self._keep_alive = False
        self._refusal = None

    def _response(self) -> Response:
        return Response(None, self._status, self._kept_retry_after(), self._coding, b"".join(self._parts))

    def _finish(self, response: Response) -> None:
        assert self._transport is not None
        # A receiver that responded before it had read the whole request would read the rest as the next request.
        unread = self._transport.get_write_buffer_size()
        self.reusable = self._keep_alive and not self._surplus and not unread and not self._transport.is_closing()
        self._end(response)

    def _end_with(self, cause: Cause) -> None:
        self._end(self.so_far(cause))

    def _cause_of_end(self) -> Cause:
        return "connect" if self.first_byte is None and not self._unsolicited else "protocol"

    def _end(self, response: Response) -> None:
        ended, self._ended = self._ended, None
        if not self.reusable and self._transport is not None:
            self._transport.abort()
        if ended is not None:
            ended(response)

    def _kept_retry_after(self) -> str | None:
        return self._retry_after[:RETRY_AFTER_LENGTH_MAX].decode("ascii", "replace") if self._retry_after else None
