"""Event streams (`text/event-stream`): answers that go on, bounded in number and in time.

A stream holds a place of its own instead of one of a request, and no transaction. It ends when its caller's access ends, when the process
is about to stop, and after `STREAM_SECONDS_MAX` at the latest; clients connect again by themselves.
"""

import json
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import structlog
from fastapi import Depends, Request
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.access.authentication import Access
from shared.access.principals import Caller
from shared.api.exports import RunningExports
from shared.errors import BadRequest, WaybillError
from shared.live import Audience, Changes, Hub
from shared.observability.metrics import Metrics
from shared.postgres.database import Database

log = structlog.get_logger(__name__)

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": still here\n\n"
"""Sent when nothing has happened for a while, so that nothing on the way takes the connection for dead."""
KEEP_ALIVE_SECONDS = 15.0
STREAM_SECONDS_MAX = 300.0
"""As long as a session token lives."""
RECONNECT_MILLISECONDS = 1_000
_BEGINNING = f"retry: {RECONNECT_MILLISECONDS}\n\n".encode()


def format_event(kind: str, document: Mapping[str, Any] | str, *, event_id: str | None = None) -> bytes:
    """One event of a stream. A `document` that is text is JSON already, in one line."""
    data = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {kind}\ndata: {data}\n\n".encode()


def wants_event_stream(request: Request) -> bool:
    """Whether the client asks for an event stream by name, as browsers do."""
    return any(MEDIA_TYPE in accepted for accepted in request.headers.getlist("accept"))


def require_event_stream(request: Request) -> None:
    """Raises `BadRequest` unless the client asks for an event stream: any other client would wait for an end that does not come."""
    if not wants_event_stream(request):
        raise BadRequest(f"this is a stream: send Accept: {MEDIA_TYPE}", code="event_stream_only")


EventStreamOnly = Depends(require_event_stream)
"""For the `dependencies` of a route that answers nothing but a stream."""


def event_stream_of(description: str, example: bytes) -> dict[str, Any]:
    """The answer of a route in its documents."""
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": example.decode()}},
    }


class EventStreams:
    """The streams of one process: at most `at_once_max` at the same time, `per_tenant_max` of one tenant."""

    def __init__(
        self, database: Database, access: Access, hub: Hub, metrics: Metrics, *, at_once_max: int, per_tenant_max: int
    ):
        self._database = database
        self._access = access
        self._hub = hub
        self._running = RunningExports(at_once_max=at_once_max, per_tenant_max=per_tenant_max, streams=True)
        self._open = metrics.gauge("waybill_event_streams_open", "Event streams that are open.")

    def begin(
        self,
        caller: Caller,
        collections: Collection[str],
        events: Callable[[AsyncIterator[Changes]], AsyncIterator[bytes]],
    ) -> "EventStreamResponse":
        """The stream of `events`, made from what changes in these collections of records that the caller may see (`Subscription.changes`).

        Raises `TooManyRequests` if too many streams of this tenant are open, and `Unavailable` if too many of all are.
        """
        ended = self._running.begin(caller.tenant_id)
        self._open.inc()

        def close() -> None:
            ended()
            self._open.dec()

        return EventStreamResponse(self._content(caller, collections, events), close)

    async def _content(
        self,
        caller: Caller,
        collections: Collection[str],
        events: Callable[[AsyncIterator[Changes]], AsyncIterator[bytes]],
    ) -> AsyncIterator[bytes]:
        yield _BEGINNING
        own = caller.subject_id if caller.row_scope == "own" else None
        with self._hub.subscribe(Audience(caller.tenant_id, caller.livemode, own), collections) as subscription:

            async def recheck() -> None:
                async with self._database.reading() as session:
                    await self._access.recheck(session, caller)

            # Streams that began together must not all come back together.
            seconds_max = STREAM_SECONDS_MAX * random.uniform(0.8, 1)  # noqa: S311
            changes = subscription.changes(recheck, idle_seconds=KEEP_ALIVE_SECONDS, seconds_max=seconds_max)
            # Access has ended: so does the stream, and the next request says why.
            with suppress(WaybillError):
                async for event in events(changes):
                    yield event


class EventStreamResponse(StreamingResponse):
    """A stream that gives its request's place back when it begins, and calls `ended` at its end."""

    def __init__(self, content: AsyncIterator[bytes], ended: Callable[[], None]) -> None:
        # Proxies must pass each event on at once.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, headers=headers, media_type=MEDIA_TYPE)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["waybill.place"].give_back()
        try:
            with suppress(ClientDisconnect):
                await super().__call__(scope, receive, send)
        finally:
            self._ended()
