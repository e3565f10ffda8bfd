"""One attempt: a signed request and its whole answer, under one deadline, as a value. It decides nothing and touches no database."""

import asyncio
import re
import time
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver
from aiohttp.client_exceptions import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientOSError,
    InvalidURL,
    ServerDisconnectedError,
)
from yarl import URL

from shared import telemetry
from webhooks.attempts import Message
from webhooks.domain.addresses import Network
from webhooks.domain.retries import Cause, Outcome
from webhooks.domain.signatures import signature
from webhooks.targets import Target
from webhooks.worker.connector import AddressBlocked, guarded_connector

USER_AGENT = "Waybill-Webhooks/1"
BODY_BYTES_MAX = 64 * 1024
BODY_CHARACTERS_KEPT = 4096
RETRY_AFTER_LENGTH_MAX = 100
HIDDEN = "[redacted]"
# A shorter one would hide half of an innocent answer.
_HIDDEN_VALUE_LENGTH_MIN = 4
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

log = structlog.get_logger()


class AnswerTooLarge(Exception):
    """The answer is longer than `BODY_BYTES_MAX`, as sent or as decompressed."""


class Sender:
    """Makes attempts, with connections kept alive between them. For use inside one event loop."""

    def __init__(
        self,
        *,
        timeout_seconds: float,
        connect_timeout_seconds: float,
        allowed_networks: Sequence[Network],
        resolver: AbstractResolver | None = None,
    ):
        self._timeout_seconds = timeout_seconds
        # The deadline of the whole is kept here, once for both tries: the client's own would begin anew with each.
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_seconds)
        self._allowed_networks = allowed_networks
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def send(self, target: Target, message: Message) -> Outcome:
        """Sign and send once. Never raises for what receivers, networks or names do: that is the outcome."""
        started_at = datetime.now(UTC)
        started = time.perf_counter()
        if not target.keys:
            return Outcome(started_at, 0, "secret_unreadable")
        status: int | None = None
        body: str | None = None
        retry_after: str | None = None
        cause: Cause | None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status, retry_after, body = await self._exchange(target, message, started_at)
            cause = None if 200 <= status < 300 else "status"
        except Exception as error:
            # Whatever a stranger's server can do to an exchange is an outcome of the attempt, never an end of the worker.
            cause = _cause(error)
        latency_ms = round((time.perf_counter() - started) * 1000)
        return Outcome(started_at, latency_ms, cause, status, body, retry_after)

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(
        self, target: Target, message: Message, started_at: datetime
    ) -> tuple[int, str | None, str | None]:
        headers = _headers(target, message, started_at)
        try:
            return await self._request(target, message.body, headers)
        except (ServerDisconnectedError, ConnectionResetError):
            # A kept connection that the receiver had closed already: once more on a new one, under the same deadline.
            return await self._request(target, message.body, headers)

    async def _request(
        self, target: Target, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str | None, str | None]:
        async with self._client().post(
            URL(target.url), data=body, headers=headers, allow_redirects=False, timeout=self._timeout
        ) as response:
            answer = await _read(response)
            retry_after = response.headers.get("Retry-After")
            kept_retry_after = retry_after[:RETRY_AFTER_LENGTH_MAX] if retry_after else None
            return response.status, kept_retry_after, _legible(answer, target)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=guarded_connector(self._allowed_networks, self._resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                requote_redirect_url=False,
                skip_auto_headers=("Accept", "User-Agent"),
            )
        return self._session


def _headers(target: Target, message: Message, now: datetime) -> dict[str, str]:
    timestamp = int(now.timestamp())
    headers = dict(target.headers)
    if message.traceparent is not None:
        headers["traceparent"] = message.traceparent
    headers["Content-Type"] = "application/json"
    headers["User-Agent"] = USER_AGENT
    headers["Accept-Encoding"] = "identity"
    headers["webhook-id"] = message.webhook_id
    headers["webhook-timestamp"] = str(timestamp)
    headers["webhook-signature"] = signature(
        target.keys, message_id=message.webhook_id, timestamp=timestamp, body=message.body
    )
    return headers


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole answer. Raises `AnswerTooLarge` as soon as it is too long, whatever it would expand to."""
    coding = response.headers.get("Content-Encoding", "identity").lower()
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32) if coding in ("gzip", "x-gzip", "deflate") else None
    received = 0
    answer = bytearray()
    async for chunk in response.content.iter_any():
        received += len(chunk)
        # One byte beyond the limit is asked for, and never more: a bomb is not inflated to find out that it is one.
        answer += inflate.decompress(chunk, BODY_BYTES_MAX + 1 - len(answer)) if inflate is not None else chunk
        if received > BODY_BYTES_MAX or len(answer) > BODY_BYTES_MAX:
            raise AnswerTooLarge
    return bytes(answer) if inflate is not None or coding == "identity" else b""


def _legible(answer: bytes, target: Target) -> str | None:
    """What is kept of an answer: its beginning, as text that PostgreSQL and a browser can hold, without what we sent in confidence."""
    if not answer:
        return None
    text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", answer.decode("utf-8", "replace").replace("\r\n", "\n"))
    for _, value in target.headers:
        if len(value) >= _HIDDEN_VALUE_LENGTH_MIN:
            text = text.replace(value, HIDDEN)
    return str(telemetry.redact(text[:BODY_CHARACTERS_KEPT]))


def _cause(error: Exception) -> Cause:
    match error:
        case AnswerTooLarge():
            return "too_large"
        case AddressBlocked():
            return "blocked"
        case TimeoutError():
            return "timeout"
        case ClientConnectorCertificateError() | ClientConnectorSSLError():
            return "tls"
        case ClientConnectorDNSError():
            return "dns"
        case InvalidURL():
            # Spellings of an address that only old resolvers understand (`127.1`).
            return "blocked"
        case ClientConnectorError() | ClientOSError() | ConnectionError():
            return "connect"
        case aiohttp.ClientError() | zlib.error():
            return "protocol"
        case _:
            # Not one that the network can cause: worth a look, and no reason to lose the delivery.
            log.error("attempt_failed_unexpectedly", exc_info=error)
            return "protocol"
