"""uvicorn's protocol with bounds: what a client may send before a request is complete, and for how long.

A request is refused here when it cannot be given to the application: its head is too large, too slow, or not HTTP. The answer is a problem
document, and the connection is closed. An upgrade is never made: the request is read as if nobody had asked for it, together with its body.
Fields after a body (trailers) are counted and dropped; they are never headers. A client that does not read what it asked for loses its
connection, so that nobody can hold memory, a slot or a database connection by not reading.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httptools
import structlog
import uuid_utils
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from shared.chassis.connection_bounds import Addresses, BodyTurns, UnreadAnswers
from shared.chassis.networks import parse_networks
from shared.chassis.settings import ProcessSettings
from shared.problem_types import title_of, type_of

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
        self.body_turns = BodyTurns()
        self.unread_answers = UnreadAnswers(settings.unread_bytes_max)
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
            self._refuse(503, "too_many_connections", "this address has too many connections: close or reuse some")

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.addresses.leave(self.address, self)
        self.config.unread_answers.remove(self.address, self)
        super().connection_lost(exc)

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

    # Answers.

    def on_response_complete(self) -> None:
        none_waits = not self.pipeline
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
        self.config.unread_answers.add(self.address, self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_since = None
        self.config.unread_answers.remove(self.address, self)

    def close_if_overdue(self, now: float) -> None:
        """Refuse or close when the client is too slow. The application waits for bodies that it wants, with bounds of its own."""
        if self._unread_since is not None and now - self._unread_since > self._bounds.write_seconds:
            # What was asked for is cancelled with the connection.
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self._refused_at is not None:
            if self._refusal is None and now - self._refused_at > LINGER_SECONDS:
                self.transport.abort()
        elif self._waiting_since is None or self._is_answering:
            return
        elif not self._in_body and now - self._waiting_since > self._bounds.head_seconds:
            if self._head_bytes > 0 or self.headers:
                seconds = self._bounds.head_seconds
                self._refuse(408, "head_timeout", f"the head of a request has to arrive within {seconds:g} seconds")
            else:
                self.transport.close()
        elif self._in_body and (
            now - self._heard_at > self._bounds.body_idle_seconds
            or now - self._waiting_since > self._bounds.body_seconds
        ):
            self.transport.close()

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
        self._refusal = _refusal(status, code, detail)
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


def _refusal(status: int, code: str, detail: str) -> bytes:
    request_id = f"req_{uuid_utils.uuid7().hex}"
    title = HTTPStatus(status).phrase
    content = {"title": title_of(code, title), "status": status, "detail": detail, "instance": request_id, "code": code}
    body = json.dumps({"type": type_of(code), **content}).encode()
    retry = "Retry-After: 1\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-Id: {request_id}\r\nX-Content-Type-Options: nosniff\r\n{retry}Connection: close\r\n\r\n"
    )
    return head.encode() + body
