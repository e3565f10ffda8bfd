"""Live notices for browsers: passes on a service's stream of what has changed, as the person who has a page of it open.

A browser gets names of records alone (`jobs/job_01h…`), also of a stream that has records; the page reads again what it shows. The
browser connects again by itself, and then with a new token.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import TypeVar

from starlette.responses import Response

from console.gateway import Api, Away, Problem
from shared.api.event_streams import MEDIA_TYPE, EventStreamResponse

ResultT = TypeVar("ResultT")

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
            response = await self._unless_ended(opened.__aenter__())
        except Problem as problem:
            return Response(status_code=problem.status)
        if response is None:
            return Response(status_code=503)

        async def content() -> AsyncIterator[bytes]:
            rest = b""
            try:
                async for piece in self.until_the_end(response.aiter_bytes()):
                    *events, rest = (rest + piece).split(b"\n\n")
                    if kept := [event for event in events if not _is_record(event)]:
                        yield b"\n\n".join((*kept, b""))
            except Away:
                return
            finally:
                await opened.__aexit__(None, None, None)

        return EventStreamResponse(content(), lambda: None)

    async def until_the_end(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces of a stream, until it ends or the process is about to stop."""
        while piece := await self._unless_ended(anext(pieces, b"")):
            yield piece

    async def _unless_ended(self, awaited: Awaitable[ResultT]) -> ResultT | None:
        """What is waited for; None when the process is about to stop before it comes."""
        coming, ending = asyncio.ensure_future(awaited), asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            return await coming if coming.done() else None
        finally:
            ending.cancel()
            # Whatever reads it has let go before it is closed.
            if coming.cancel():
                await asyncio.wait({coming})


def _is_record(event: bytes) -> bool:
    """Whether an event of a stream is a record, with its content, and not a notice or a sign of life."""
    return b"event: event" in event.splitlines()
