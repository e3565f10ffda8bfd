"""HTTP as bytes on a socket, for what no client library sends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.harness.waiting import WAIT_SECONDS


@dataclass(frozen=True)
class Answer:
    """One answer: its status, its headers by their names in lower case, its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawConnection:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        """Send each part by itself. What the server does not want to read any more is no error."""
        try:
            for part in parts:
                self._writer.write(part)
                await asyncio.wait_for(self._writer.drain(), WAIT_SECONDS)
        except ConnectionError:
            return

    async def answer(self) -> Answer:
        """The next answer."""
        async with asyncio.timeout(WAIT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.strip().split("\r\n")
            status = int(status_line.split(" ")[1])
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(status, headers, body)

    async def ended(self) -> bool:
        """Wait until the server has ended the connection; whether it sent nothing more."""
        try:
            return await asyncio.wait_for(self._reader.read(), WAIT_SECONDS) == b""
        except ConnectionError:
            return True

    async def rest(self) -> bytes:
        """All that comes until the server has ended the connection."""
        return await asyncio.wait_for(self._reader.read(), WAIT_SECONDS)

    @property
    def is_closed(self) -> bool:
        """Whether the server has ended the connection, as far as is known here."""
        return self._reader.at_eof() or self._writer.is_closing()


@asynccontextmanager
async def connected(port: int, *, source: str | None = None) -> AsyncIterator[RawConnection]:
    """A connection to a port of this machine, from another loopback address if one is named."""
    local = (source, 0) if source else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()


async def ask(port: int, *parts: bytes) -> Answer:
    """The answer to one request on a connection of its own."""
    async with connected(port) as connection:
        await connection.send(*parts)
        return await connection.answer()


def request(target: str, *headers: str, body: bytes = b"", method: str = "", host: bool = True) -> bytes:
    """One request with these header lines; its body, if it has one, with its length."""
    method = method or ("POST" if body else "GET")
    lines = [f"{method} {target} HTTP/1.1", *(["Host: edge"] if host else []), *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
