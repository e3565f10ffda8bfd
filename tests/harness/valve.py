"""A TCP server before a service, which hands on, or never answers, or answers 500, or is not there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

from tests.harness.servers import stop_accepting

Way = Literal["open", "silent", "broken", "closed"]
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
PIECE_BYTES = 65536


class Valve:
    """Use `valve`."""

    def __init__(self, target: str):
        found = urlsplit(target)
        self._target = (found.hostname or "", found.port or 0)
        self._way: Way = "open"
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def turn(self, way: Way) -> None:
        """From now on; connections that are open end."""
        self._way = way
        self._asked.clear()
        await self._close()
        if way != "closed":
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def asked(self) -> None:
        """Wait until something has been asked of a silent one."""
        await self._asked.wait()

    async def _close(self) -> None:
        if self._server is not None:
            await stop_accepting(*self._server.sockets)
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # Cancelled by `turn`: no error of the server.
            with suppress(OSError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match self._way:
            case "open":
                to_reader, to_writer = await asyncio.open_connection(*self._target)
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(_pass_on(reader, to_writer))
                        both.create_task(_pass_on(to_reader, writer))
                finally:
                    to_writer.close()
            case "silent":
                while await reader.read(PIECE_BYTES):
                    self._asked.set()
            case _:
                await reader.read(PIECE_BYTES)
                writer.write(BROKEN)
                await writer.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


@asynccontextmanager
async def valve(target: str) -> AsyncIterator[Valve]:
    """An open valve before a service, at an address of its own."""
    made = Valve(target)
    await made.turn("open")
    yield made
    await made.turn("closed")
