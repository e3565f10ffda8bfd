"""Live notices for browsers: passes on a service's stream of what has changed, as the person who has a page of it open.

A browser gets names of records alone (`jobs/job_01h…`), also of a stream that has records; the page reads again what it shows. The
browser connects again by itself, and then with a new token.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response

from console.gateway import Api, Away, Problem
from shared.api.event_streams import MEDIA_TYPE, EventStreamResponse

SILENCE_SECONDS = 45.0
"""Longest time in which nothing comes of a stream: services send something every 15 seconds."""
STREAMS: Mapping[str, str] = {"jobs": "/v1/job-notices", "webhooks": "/v1/events"}
"""The streams of notices, by service."""


class Live:
    """The streams of one process of the console."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    def end(self) -> None:
        """End all streams: the process is about to stop."""
        self._ended.set()

    async def stream(self, api: Api, service: str) -> Response:
        """The stream of a service. What the service refuses is refused with its status: browsers do not come back then."""
        opened = api.stream(service, STREAMS[service], seconds=SILENCE_SECONDS, headers={"Accept": MEDIA_TYPE})
        try:
            response = await opened.__aenter__()
        except Problem as problem:
            return Response(status_code=problem.status)

        async def content() -> AsyncIterator[bytes]:
            pieces = response.aiter_bytes()
            rest = b""
            try:
                while piece := await self._next(pieces):
                    *events, rest = (rest + piece).split(b"\n\n")
                    if kept := [event for event in events if not _is_record(event)]:
                        yield b"\n\n".join((*kept, b""))
            except Away:
                return
            finally:
                await opened.__aexit__(None, None, None)

        return EventStreamResponse(content(), lambda: None)

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes:
        """The next piece; empty at the end of the stream, or when the process is about to stop."""
        coming = asyncio.ensure_future(anext(pieces, b""))
        ending = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            return await coming if coming.done() else b""
        finally:
            coming.cancel()
            ending.cancel()


def _is_record(event: bytes) -> bool:
    """Whether an event of a stream is a record, with its content, and not a notice or a sign of life."""
    return b"event: event" in event.splitlines()
