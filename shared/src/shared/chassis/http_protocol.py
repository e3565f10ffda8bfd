"""uvicorn's protocol with bounds: what a client may send before a request is complete, and for how long.

A request is refused here when it cannot be given to the application: its head is too large, too slow, or not HTTP. The answer is a problem
document, and the connection is closed. An upgrade is never made: the request is read as if nobody had asked for it, together with its body.
Fields after a body (trailers) are counted and dropped; they are never headers. A client that does not read what it asked for loses its
connection, so that nobody can hold memory, a slot or a database connection by not reading.
"""

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import httptools
import structlog
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from shared.chassis import refusals
from shared.chassis.connection_bounds import Addresses, BodyTurns, HeldBytes
from shared.chassis.networks import parse_networks
from shared.chassis.settings import ProcessSettings
from shared.chassis.turns import Turns

log = structlog.get_logger()

PIECE_BYTES = 64 * 1024
"""Largest piece that is parsed at once."""
PIPELINE_MAX = 4
"""Requests of one connection that are parsed while an earlier one is not answered: those that came in one piece with a body."""
_END_OF_HEAD = b"\r\n\r\n"
LINGER_SECONDS = 2.0
LINGER_BYTES = 1024 * 1024
"""After a refusal, what is still read and dropped: a connection that is closed before may lose its answer."""

_FIELD_OVERHEAD_BYTES = len(b": \r\n")
_EXCHANGE = "waybill.exchange"
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")


class _RefusedError(Exception):
    """Ends the parser's work on what has arrived."""


class BoundedConfig(Config):
    """uvicorn's configuration, with the bounds for its connections."""

    def __init__(self, app: Any, settings: ProcessSettings, **options: Any):
        super().__init__(app, http=BoundedProtocol, ws="none", **options)
        self.bounds = settings
        self.turns = Turns(settings)
        self.body_turns = BodyTurns()
        self.unread_answers = HeldBytes(settings.unread_bytes_max, BoundedProtocol.abort)
        self.unfinished_heads = HeldBytes(settings.unfinished_head_bytes_max, BoundedProtocol.refuse_unfinished_head)
        self.addresses = Addresses(settings.connections_per_address_max, parse_networks(settings.trusted_proxies))


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    config: BoundedConfig

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = self.config.bounds
        self.address = ""
        self._in_body = False
        self._waiting_since: float | None = None
        """Since when what has begun is not complete. None: no request has begun."""
        self._heard_at = 0.0
        self._held = b""
        """What has come after a request that is not answered."""
        self._head_bytes = 0
        """What has arrived of a head that is not complete."""
        self._field_bytes = 0
        self._trailer_fields = 0
        self._framing_bytes = 0
        """What has arrived of a body, since its last byte, that is not body."""
        self._piece_bytes = 0
        self._unread_since: float | None = None
        """Since when what was written waits for the client to read it."""
        self._upgrading = False
        self._is_known = False
        """Whether the client has waited for an answer, and has not asked again yet."""
        self._has_request = False
        """Whether a request waits for its turn or is at work."""
        self._refused_at: float | None = None
        self._refusal: bytes | None = None
        self._lingered_bytes = 0

    @property
    def is_serving(self) -> bool:
        """Whether a complete request has not been answered yet."""
        return not self._in_body and self._is_answering

    @property
    def waits(self) -> bool:
        """Whether a request waits for the answer to an earlier one."""
        return bool(self.pipeline or self._held)

    @property
    def has_unread_body(self) -> bool:
        """Whether the application has yet to take what has arrived of a body; then it resumes reading."""
        return self.cycle is not None and not self.cycle.response_complete and bool(self.cycle.body)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waiting_since = self._heard_at = self.loop.time()
        self.address = self.client[0] if self.client else ""
        if not self.config.addresses.enter(self.address, self):
            self._refuse(*refusals.TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_request()
        self.config.addresses.leave(self.address, self)
        self.config.unread_answers.release(self)
        self.config.unfinished_heads.release(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once; what waits to be read is lost, and what was asked for is cancelled."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._heard_at = self.loop.time()
        if self._waiting_since is None:
            self._waiting_since = self._heard_at
        data, self._held = self._held + data, b""
        while data and self._refused_at is None and not self.is_serving:
            data = self._parse(data)
        if data and self._refused_at is None:
            self._hold(data)
        elif data:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES:
                self.transport.abort()

    def _hold(self, data: bytes) -> None:
        """Keep what has come after a request until that is answered: however much a connection sends, it has one request at work."""
        self._waiting_since = None
        if len(data) <= self._bounds.head_bytes_max:
            self._held = data
            self.flow.pause_reading()
        elif data.find(_END_OF_HEAD, 0, self._bounds.head_bytes_max) < 0:
            self._refuse_head()
        else:
            self._refuse_pipeline()

    def _parse(self, data: bytes) -> bytes:
        """Parse the first piece, of a head no more than its end; returns what is left."""
        if self._in_body:
            size = PIECE_BYTES
        else:
            end = data.find(_END_OF_HEAD, 0, PIECE_BYTES)
            size = min(
                len(data) if end < 0 else end + len(_END_OF_HEAD),
                PIECE_BYTES,
                self._bounds.head_bytes_max - self._head_bytes,
            )
        piece, rest = (data, b"") if len(data) <= size else (data[:size], data[size:])
        self._piece_bytes = len(piece)
        in_head = not self._in_body
        self._framing_bytes += 0 if in_head else len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade() + piece[upgrade.args[0] :] + rest
        except httptools.HttpParserError:
            if self._refused_at is None:
                self._refuse(400, "request_malformed", "this is not HTTP/1.1 as RFC 9112 has it")
            return rest
        if not self._in_body:
            self._head_bytes += len(piece)
            if self._head_bytes >= self._bounds.head_bytes_max:
                self._refuse_head()
            elif self._head_bytes > 0:
                self.config.unfinished_heads.hold(self, self._head_bytes)
        elif self._framing_bytes > self._bounds.head_bytes_max:
            self._refuse_head()
        return rest

    def _without_upgrade(self) -> bytes:
        """The head that has just been parsed, without its wish for another protocol; a new parser will read it."""
        self._upgrading = False
        self._head_bytes = 0
        fields = b"".join(b"%b:%b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        version = self.parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, fields)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return head

    # What the parser calls.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._waiting_since = self.loop.time()
        self._field_bytes = self._trailer_fields = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field_bytes += len(name) + len(value) + _FIELD_OVERHEAD_BYTES
        if self._in_body:
            self._trailer_fields += 1
        else:
            # Blanks around a value are no part of it (RFC 9110, 5.5); the parser leaves those at its end.
            super().on_header(name, value.strip(b" \t"))
        fields = self._trailer_fields or len(self.headers)
        if fields > self._bounds.head_fields_max or self._field_bytes > self._bounds.head_bytes_max:
            self._refuse_head()
            raise _RefusedError

    def on_headers_complete(self) -> None:
        self._require_unambiguous()
        if self.parser.should_upgrade():
            self._upgrading = True
            return
        if len(self.pipeline) >= PIPELINE_MAX:
            self._refuse_pipeline()
            raise _RefusedError
        super().on_headers_complete()
        self._in_body = True
        self.config.unfinished_heads.release(self)
        self._waiting_since = self.loop.time()
        self._field_bytes = self._framing_bytes = 0
        # The edge counts a request only when its body is complete.
        self.scope[_EXCHANGE] = self.cycle  # type: ignore[literal-required]

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        self.config.body_turns.count(len(body), self)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._in_body = False
        self._waiting_since = None
        # How much of this piece belongs to the next head is not known: it does not count, and a piece is small.
        self._head_bytes = -self._piece_bytes
        super().on_message_complete()

    def _require_unambiguous(self) -> None:
        """Refuse a request that another server could read in another way."""
        version = self.parser.get_http_version()
        hosts = [value for name, value in self.headers if name == b"host"]
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if version not in ("1.1", "1.0"):
            self._refuse(400, "http_version_unknown", "send HTTP/1.1")
        elif len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(_HOST.fullmatch, hosts)):
            self._refuse(400, "host_missing_or_repeated", "send one Host header")
        elif codings and (version == "1.0" or codings != [b"chunked"]):
            self._refuse(400, "transfer_encoding_unknown", "send Content-Length, or Transfer-Encoding: chunked alone")
        elif self.parser.get_method() == b"CONNECT":
            self._refuse(405, "method_not_allowed", "this server is no proxy")
        else:
            return
        raise _RefusedError

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        turns = self.config.turns
        lane = turns.known if self._is_known else turns.strangers
        turns.enter(self, self.address, is_known=self._is_known)
        self._is_known, self._has_request = False, True
        lane.take(self.address, partial(self._begin, cycle, app))

    def _begin(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if not self.transport.is_closing():
            super()._start_asgi_task(cycle, app)

    def _end_request(self) -> None:
        if self._has_request:
            self._has_request = False
            self.config.turns.leave(self, self.address)

    # Answers.

    def on_response_complete(self) -> None:
        self._end_request()
        none_waits = not self.pipeline
        self._is_known = none_waits and not self._held
        # Nobody reads the rest of its body: it must not be held until the body ends.
        self.cycle.body.clear()
        self.config.addresses.renew(self.address, self)
        super().on_response_complete()
        if none_waits and self._refusal is not None:
            self._send_refusal()
        elif self._held and not self.pipeline and not self.transport.is_closing():
            self.data_received(b"")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_since = self.loop.time()
        self.config.unread_answers.hold(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_since = None
        self.config.unread_answers.release(self)

    def close_if_overdue(self, now: float) -> bool:
        """Refuse or close when the client is too slow; whether it was. For bodies that the application wants it waits itself."""
        bounds = self._bounds
        if self._unread_since is not None and now - self._unread_since > bounds.write_seconds:
            self.abort()
        elif self.transport.is_closing():
            return False
        elif self._refused_at is not None:
            if self._refusal is not None or now - self._refused_at <= LINGER_SECONDS:
                return False
            self.abort()
        elif self._waiting_since is None or self._is_answering:
            return False
        elif not self._in_body:
            if now - self._waiting_since <= bounds.head_seconds:
                return False
            if self._head_bytes > 0 or self.headers:
                detail = f"the head of a request has to arrive within {bounds.head_seconds:g} seconds"
                self._refuse(408, "head_timeout", detail)
            else:
                self.transport.close()
        elif now - self._heard_at <= bounds.body_idle_seconds and now - self._waiting_since <= bounds.body_seconds:
            return False
        else:
            self.transport.close()
        return True

    def refuse_unfinished_head(self) -> None:
        """There is no room for this head any longer."""
        bytes_max = self._bounds.unfinished_head_bytes_max
        self._refuse(
            503, "too_many_heads", f"heads that are not complete have more than {bytes_max} bytes: send yours at once"
        )
        # The parser holds what has arrived; the connection is still open for a while.
        self.parser = httptools.HttpRequestParser(self)

    def _refuse_head(self) -> None:
        bounds = self._bounds
        self._refuse(
            431,
            "header_fields_too_large",
            f"a head, and what follows a body, may have {bounds.head_bytes_max} bytes and {bounds.head_fields_max} fields",
        )

    def _refuse_pipeline(self) -> None:
        # Those that wait are not answered: who sends so many must not be worth more work than others.
        self.pipeline.clear()
        self._refuse(400, "pipeline_too_long", "wait for answers: too much has been sent already")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer in the place of the application, after what was asked before, and close the connection."""
        self._refused_at = self.loop.time()
        self.config.unfinished_heads.release(self)
        self._refusal = refusals.answer(status, code, detail)
        log.info("request_refused", code=code, status=status)
        if not self._in_body:
            if not self._is_answering:
                self._send_refusal()
        elif self.pipeline:
            self.pipeline.popleft()
        elif self.cycle.response_started:
            self.transport.close()
        else:
            # The application is told that nobody waits for its answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._send_refusal()

    def _send_refusal(self) -> None:
        refusal, self._refusal, self._refused_at = self._refusal, None, self.loop.time()
        if refusal is None or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.transport.write(refusal)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()


def body_has_arrived(scope: Mapping[str, Any]) -> bool:
    """Whether the body of a request is complete already. True, too, for a request that no connection has brought."""
    exchange = scope.get(_EXCHANGE)
    return exchange is None or not exchange.more_body
