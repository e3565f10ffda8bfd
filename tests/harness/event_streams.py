"""A client of event streams, over real HTTP: answers that have no end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from tests.harness.client import Api
from tests.harness.waiting import WAIT_SECONDS, eventually

EVENT_STREAM = {"Accept": "text/event-stream"}


@asynccontextmanager
async def over_http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """An application that runs in the tests' process, reached through a socket."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: asyncio.sleep(0, server.started), what="the server has started")
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=WAIT_SECONDS) as client:
        yield client
    server.should_exit = True
    await serving


class Stream:
    """An open stream."""

    def __init__(self, response: httpx.Response):
        self.response = response
        self._lines = response.aiter_lines()

    async def next_event(self) -> tuple[str, dict[str, Any]]:
        """The name and the document of the next event. Raises `StopAsyncIteration` at the end of the stream."""
        kind = ""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                line = await anext(self._lines)
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return kind, json.loads(line.removeprefix("data: "))

    async def names(self, count: int) -> list[str]:
        """The names of the next notices, until there are so many."""
        found: list[str] = []
        while len(set(found)) < count:
            found += (await self.next_event())[1]["names"]
        return found


@asynccontextmanager
async def opened(client: httpx.AsyncClient, api: Api, path: str, **headers: str) -> AsyncIterator[Stream]:
    """The stream at this path for a caller."""
    async with client.stream("GET", path, headers={**api.headers, **EVENT_STREAM, **headers}) as response:
        assert response.status_code == 200, await response.aread()
        yield Stream(response)
