"""Receivers of webhooks, in a process of its own. Each path has its behaviour, and the first arrival of each event is recorded.

`/ok/<n>` responds 204 at once, `/slow/<milliseconds>/<n>` later, `/hang/<n>` never, `/refuse/<n>` with 500, `/drip/<n>` a byte a second.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import cast

import httptools

from bench.children import Document, obey

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
REFUSAL = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
DRIPPED = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
DRIP_SECONDS = 1.0
POLL_SECONDS = 0.01
NUMBER = b'"n":'
SENT = b'"sent_ns":'


class Arrivals:
    """Arrivals since the last `take`."""

    def __init__(self) -> None:
        self.first: dict[bytes, dict[int, int]] = {}
        """Nanoseconds from the publication of an event to its first arrival, by path and number of the event."""
        self.count = 0
        self.repeated = 0
        self.last_ns = 0

    def at(self, paths: Sequence[bytes]) -> int:
        """How many have arrived at these paths, or at all."""
        return sum(len(self.first.get(path, ())) for path in paths) if paths else self.count

    def note(self, path: bytes, body: bytes) -> None:
        now_ns = time.monotonic_ns()
        sent_ns, number = _number_after(SENT, body), _number_after(NUMBER, body)
        seen = self.first.setdefault(path, {})
        if number in seen:
            self.repeated += 1
            return
        seen[number] = now_ns - sent_ns
        self.count += 1
        self.last_ns = now_ns


class Connection(asyncio.Protocol):
    """One connection of a sender."""

    def __init__(self, arrivals: Arrivals):
        self._arrivals = arrivals
        self._parser = httptools.HttpRequestParser(self)
        self._parts: list[bytes] = []
        self._path = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transport of uvloop is one, but not a subclass.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        assert self._transport is not None
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._arrivals.note(self._path, body)
        _, manner, rest = self._path.split(b"/", 2)
        if manner == b"ok":
            self._transport.write(ANSWER)
        elif manner == b"refuse":
            self._transport.write(REFUSAL)
        elif manner == b"slow":
            self._later(int(rest.partition(b"/")[0]) / 1000, lambda: self._write(ANSWER))
        elif manner == b"drip":
            self._write(DRIPPED)
            self._drip()

    def _drip(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._write(b".")
            self._later(DRIP_SECONDS, self._drip)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)

    @staticmethod
    def _later(seconds: float, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, act)


class Receivers:
    """Handles the commands of the bench."""

    def __init__(self) -> None:
        self._arrivals = Arrivals()
        self._server: asyncio.Server | None = None

    async def listen(self, _: Document) -> Document:
        """Listen on a free port of loopback; return it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._arrivals), "127.0.0.1", 0, backlog=4096)
        port: int = self._server.sockets[0].getsockname()[1]
        return {"port": port}

    async def wait(self, command: Document) -> Document:
        """Wait until `count` have arrived (at `paths`, if given), or none has for `patience_seconds`. Returns how many have."""
        patience_ns = round(command["patience_seconds"] * 1e9)
        paths = [path.encode() for path in command["paths"]]
        arrived, changed_ns = self._arrivals.at(paths), time.monotonic_ns()
        while arrived < command["count"] and time.monotonic_ns() - changed_ns < patience_ns:
            await asyncio.sleep(POLL_SECONDS)
            before, arrived = arrived, self._arrivals.at(paths)
            if arrived != before:
                changed_ns = time.monotonic_ns()
        return {"count": arrived, "at_ns": time.monotonic_ns()}

    async def count(self, _: Document) -> Document:
        """How many have arrived so far."""
        return {"count": self._arrivals.count}

    async def take(self, _: Document) -> Document:
        """Return and clear the arrivals: for each path the numbers of the events and their latencies, in order of arrival."""
        arrivals = self._arrivals
        taken = {
            "count": arrivals.count,
            "repeated": arrivals.repeated,
            "last_ns": arrivals.last_ns,
            "paths": {path.decode(): [list(seen), list(seen.values())] for path, seen in arrivals.first.items()},
        }
        arrivals.first, arrivals.count, arrivals.repeated = {}, 0, 0
        return taken


def _number_after(mark: bytes, body: bytes) -> int:
    start = body.index(mark) + len(mark)
    end = start
    while 48 <= body[end] <= 57:
        end += 1
    return int(body[start:end])


if __name__ == "__main__":
    receivers = Receivers()
    obey({"listen": receivers.listen, "wait": receivers.wait, "count": receivers.count, "take": receivers.take})
