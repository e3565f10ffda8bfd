"""The sender makes attempts: a signed request and its complete response, under deadlines.

An attempt over an idle connection has no task and no timer of its own, only callbacks of the connection. A task is made only if a
connection has to be made.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from webhooks.http_client.connection import Connection
from webhooks.http_client.connection_pool import ConnectionPool
from webhooks.http_client.connector import Connector, Phases
from webhooks.http_client.deadlines import Deadlines
from webhooks.http_client.dns_cache import LookUp
from webhooks.http_client.egress_guard import NotConnected
from webhooks.http_client.requests import DeliveryTarget, Message, RequestTemplate, RequestTemplates
from webhooks.http_client.responses import Outcome, Response, Timings, decompress, with_fault
from webhooks.http_client.rules import Network

DNS_TIMEOUT_SECONDS = 5.0
CLOSE_SECONDS = 1.0

_TIMEOUT = Response("timeout")
_UNREADABLE = Response("secret_unreadable")
_UNEXPECTED = Response("protocol")

log = structlog.get_logger()


class _Attempt:
    """An attempt in flight; `began` and `sent` are on `time.monotonic`."""

    __slots__ = (
        "began",
        "connecting",
        "connection",
        "done",
        "is_reused",
        "phases",
        "request",
        "sent",
        "started_us",
        "template",
    )

    def __init__(self, done: Callable[[Outcome], None], started_us: int, began: float):
        # None once the attempt has ended.
        self.done: Callable[[Outcome], None] | None = done
        self.started_us = started_us
        self.began = began
        self.request = b""
        self.connection: Connection | None = None
        self.is_reused = False
        self.connecting: asyncio.Task[None] | None = None
        self.phases: Phases | None = None
        self.sent: float | None = None
        self.template: RequestTemplate | None = None


class Sender:
    """Makes attempts and keeps connections alive between them. For use inside one event loop.

    `look_up` replaces the resolver of the operating system. `ca_file`: authorities that are trusted in addition to those of the system.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float,
        connect_timeout_seconds: float,
        allowed_networks: Sequence[Network],
        first_byte_timeout_seconds: float | None = None,
        dns_timeout_seconds: float = DNS_TIMEOUT_SECONDS,
        ca_file: Path | None = None,
        look_up: LookUp | None = None,
    ):
        self._templates = RequestTemplates()
        self._pool = ConnectionPool()
        self._connector = Connector(
            allowed_networks=allowed_networks,
            connect_timeout_seconds=connect_timeout_seconds,
            dns_timeout_seconds=dns_timeout_seconds,
            ca_file=ca_file,
            look_up=look_up,
            closed=self._forget,
            no_files=self._pool.close,
        )
        self._under_way = Deadlines[_Attempt](timeout_seconds, self._time_out)
        self._unanswered = Deadlines[_Attempt](first_byte_timeout_seconds or timeout_seconds, self._check_first_byte)
        self._connections: set[Connection] = set()
        self._waiters: set[asyncio.Future[Outcome]] = set()
        self._all_gone = asyncio.Event()
        self._closed = False

    def send(self, target: DeliveryTarget, message: Message, done: Callable[[Outcome], None]) -> None:
        """Make one attempt. `done` is called exactly once, after this has returned, unless `close` aborts the attempt.

        All failures of receivers, networks and names are outcomes, never errors here.
        """
        if self._closed:
            raise RuntimeError("this sender is closed")
        attempt = _Attempt(done, time.time_ns() // 1000, time.monotonic())
        self._under_way.start(attempt, attempt.began)
        if not target.keys:
            self._end_soon(attempt, _UNREADABLE)
            return
        try:
            template = self._templates.of(target)
        except NotConnected as refusal:
            self._end_soon(attempt, Response(refusal.cause, cause_detail=refusal.cause_detail))
            return
        attempt.request = template.request(message, attempt.started_us // 1_000_000)
        found = self._connector.known(template.destination, attempt.began)
        connection = self._pool.take(template.origin, found) if found else None
        if connection is None:
            self._start_connecting(attempt, template, fresh=False)
        else:
            attempt.is_reused = True
            self._begin(attempt, template, connection)

    async def attempt(self, target: DeliveryTarget, message: Message) -> Outcome:
        """Make one attempt and return its outcome. Cancelled if `close` aborts it."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiters.add(outcome)
        outcome.add_done_callback(self._waiters.discard)
        self.send(target, message, lambda found: None if outcome.done() else outcome.set_result(found))
        return await outcome

    async def close(self) -> None:
        """Abort the attempts in flight, without outcomes, and close all connections."""
        self._closed = True
        attempts = list(self._under_way)
        connecting = [attempt.connecting for attempt in attempts if attempt.connecting is not None]
        for attempt in attempts:
            attempt.done = None
            self._abort(attempt)
        for waiter in list(self._waiters):
            waiter.cancel()
        for deadlines in (self._under_way, self._unanswered):
            deadlines.clear()
        if connecting:
            await asyncio.wait(connecting, timeout=CLOSE_SECONDS)
        self._pool.close()
        self._connector.close()
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            self._all_gone.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._all_gone.wait()

    # -- connecting

    def _start_connecting(self, attempt: _Attempt, template: RequestTemplate, *, fresh: bool) -> None:
        attempt.is_reused, attempt.sent = False, None
        attempt.phases = Phases()
        attempt.connecting = asyncio.create_task(self._connect(attempt, attempt.phases, template, fresh=fresh))

    async def _connect(self, attempt: _Attempt, phases: Phases, template: RequestTemplate, *, fresh: bool) -> None:
        try:
            found = await self._connector.resolve(template.destination, phases)
            # A connection may have become idle since: while the name was looked up, or when another attempt ended.
            connection = None if fresh else self._pool.take(template.origin, found)
            attempt.is_reused = connection is not None
            if connection is None:
                connection = await self._connector.connect(template.destination, found, phases)
                self._connections.add(connection)
        except NotConnected as refusal:
            self._end(attempt, None, Response(refusal.cause, cause_detail=refusal.cause_detail))
        except TimeoutError:
            self._end(attempt, None, _TIMEOUT)
        except Exception:
            # No failure of the network: a defect to look into, but the delivery must not be lost.
            log.exception("attempt_failed_unexpectedly")
            self._end(attempt, None, _UNEXPECTED)
        else:
            attempt.connecting = None
            self._begin(attempt, template, connection)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._pool.forget(connection)
        if not self._connections:
            self._all_gone.set()

    # -- the exchange

    def _begin(self, attempt: _Attempt, template: RequestTemplate, connection: Connection) -> None:
        attempt.connection, attempt.template = connection, template
        attempt.sent = time.monotonic()
        self._unanswered.start(attempt, attempt.sent)
        connection.begin(attempt.request, partial(self._on_response, attempt, template))

    def _on_response(self, attempt: _Attempt, template: RequestTemplate, response: Response) -> None:
        connection = attempt.connection
        if attempt.done is None or connection is None:
            return
        if response.untouched and attempt.is_reused:
            # The receiver had closed this idle connection: try once more on a new one, under the same deadline.
            attempt.connection = None
            self._unanswered.stop(attempt)
            self._start_connecting(attempt, template, fresh=True)
            return
        if connection.reusable:
            # Before `done` is called, because that may send the next request at once.
            self._pool.put(template.origin, connection)
        else:
            self._connections.discard(connection)
        self._end(attempt, template, response)

    def _check_first_byte(self, attempt: _Attempt) -> None:
        if attempt.connection is not None and attempt.connection.first_byte is None:
            self._time_out(attempt)

    def _time_out(self, attempt: _Attempt) -> None:
        response = attempt.connection.so_far("timeout") if attempt.connection is not None else _TIMEOUT
        self._end(attempt, None if response.cause else attempt.template, response)

    # -- the outcome

    def _end_soon(self, attempt: _Attempt, response: Response) -> None:
        asyncio.get_running_loop().call_soon(self._end, attempt, None, response)

    def _end(self, attempt: _Attempt, template: RequestTemplate | None, response: Response) -> None:
        """End the attempt with this response. `template` is given if its head is complete."""
        done, attempt.done = attempt.done, None
        if done is None:
            return
        self._under_way.stop(attempt)
        self._unanswered.stop(attempt)
        timings = _timings(attempt)
        if template is None or response.fault is not None:
            self._abort(attempt)
        outcome = _outcome(attempt, template, response, timings)
        try:
            done(outcome)
        except Exception:
            log.exception("outcome_callback_failed")

    def _abort(self, attempt: _Attempt) -> None:
        """Stop connecting, or abort the connection."""
        if attempt.connecting is not None and attempt.connecting is not asyncio.current_task():
            attempt.connecting.cancel()
        if attempt.connection is not None:
            attempt.connection.abort()


def _outcome(attempt: _Attempt, template: RequestTemplate | None, response: Response, timings: Timings) -> Outcome:
    body: str | None = None
    if response.cause is None and template is not None:
        if response.coding:
            response = decompress(response)
        body = template.legible(response.body)
        if response.fault is not None:
            body = with_fault(body, response.fault)
    cause = response.cause
    if cause is None and (response.status is None or not 200 <= response.status < 300):
        cause = "status"
    return Outcome(
        attempt.started_us,
        timings.total_ms or 0,
        cause,
        response.status,
        body,
        response.retry_after,
        timings,
        response.cause_detail,
    )


def _timings(attempt: _Attempt) -> Timings:
    now = time.monotonic()
    first_byte_ms: int | None = None
    if attempt.sent is not None:
        first_byte = attempt.connection.first_byte if attempt.connection is not None else None
        first_byte_ms = _milliseconds((first_byte or now) - attempt.sent)
    total_ms = _milliseconds(now - attempt.began)
    phases = attempt.phases
    if phases is None:
        return Timings(None, None, None, first_byte_ms, total_ms)
    phases.leave()
    dns_ms, connect_ms, tls_ms = (
        None if seconds is None else _milliseconds(seconds) for seconds in (phases.dns, phases.connect, phases.tls)
    )
    return Timings(dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
