"""A receiver of webhooks for tests: a real HTTP server on loopback that remembers what it was sent."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.harness.servers import listening

RECEIVED_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Received:
    """One request that arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Answers 200 unless `answer` says otherwise; keeps everything, in order of arrival."""

    def __init__(self, port: int):
        self.port = port
        self.requests: list[Received] = []
        self.answer: Callable[[Received], int] = lambda _: 200
        self.text = ""
        """The body of every answer."""
        self._taken = itertools.count()
        self._changed = asyncio.Event()

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        """What arrived at one path."""
        return [request for request in self.requests if request.path == path]

    @property
    def count(self) -> int:
        return len(self.requests)

    async def next_request(self, *, timeout_seconds: float = 30) -> Received:
        """The first request that no earlier call returned."""
        number = next(self._taken)
        await self.wait_for(lambda: len(self.requests) > number, timeout_seconds=timeout_seconds)
        return self.requests[number]

    async def wait_for(self, condition: Callable[[], bool], *, timeout_seconds: float = 30) -> None:
        """Wait until something that arrived makes the condition true; fails after the time-out."""
        async with asyncio.timeout(timeout_seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def handle(self, request: web.Request) -> web.Response:
        received = Received(request.path, dict(request.headers), await request.read())
        assert len(self.requests) < RECEIVED_MAX
        self.requests.append(received)
        self._changed.set()
        return web.Response(status=self.answer(received), text=self.text)


@asynccontextmanager
async def run_receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    app = web.Application()
    receiver = Receiver(0)
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    async with listening(web.AppRunner(app, access_log=None)) as receiver.port:
        yield receiver
