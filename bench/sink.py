"""The receiver of webhooks, a process of its own: answers 204 with the fewest bytes and remembers when each job arrived first."""

import asyncio
import time
from typing import cast

import httptools

from bench.children import Document, obey
from bench.load import job_id

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
POLL_SECONDS = 0.005


class Arrivals:
    """What arrived since the last `take`."""

    def __init__(self) -> None:
        self.first_ns: dict[bytes, int] = {}
        self.repeated = 0
        self.unknown = 0

    def note(self, body: bytes) -> None:
        now_ns = time.monotonic_ns()
        found = job_id(body)
        if found is None:
            self.unknown += 1
        elif found in self.first_ns:
            self.repeated += 1
        else:
            self.first_ns[found] = now_ns


class Connection(asyncio.Protocol):
    """One connection of a sender."""

    def __init__(self, arrivals: Arrivals):
        self._arrivals = arrivals
        self._parser = httptools.HttpRequestParser(self)
        self._parts: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one, but not by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self._arrivals.note(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        self._parts.clear()
        assert self._transport is not None
        self._transport.write(ANSWER)


class Receiver:
    """The commands that the bench gives."""

    def __init__(self) -> None:
        self._arrivals = Arrivals()
        self._server: asyncio.Server | None = None

    async def listen(self, _: Document) -> Document:
        """Listen on a free port of loopback; which one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._arrivals), "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return {"port": port}

    async def wait(self, command: Document) -> Document:
        """Wait until `count` jobs have arrived, or `patience_seconds` have passed without a new one; how many have."""
        arrived = 0
        patience_ns = round(command["patience_seconds"] * 1e9)
        changed_ns = time.monotonic_ns()
        while len(self._arrivals.first_ns) < command["count"] and time.monotonic_ns() - changed_ns < patience_ns:
            await asyncio.sleep(POLL_SECONDS)
            if len(self._arrivals.first_ns) != arrived:
                arrived = len(self._arrivals.first_ns)
                changed_ns = time.monotonic_ns()
        return {"arrived": len(self._arrivals.first_ns)}

    async def take(self, _: Document) -> Document:
        """What has arrived, and forget it."""
        first_ns, repeated, unknown = self._arrivals.first_ns, self._arrivals.repeated, self._arrivals.unknown
        self._arrivals.first_ns, self._arrivals.repeated, self._arrivals.unknown = {}, 0, 0
        return {
            "first_ns": {found.decode(): at for found, at in first_ns.items()},
            "repeated": repeated,
            "unknown": unknown,
        }


if __name__ == "__main__":
    receiver = Receiver()
    obey({"listen": receiver.listen, "wait": receiver.wait, "take": receiver.take})
