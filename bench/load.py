"""The load generator, a process of its own: HTTP/1.1 written by hand on uvloop and httptools, a few microseconds a request.

Closed loop: each connection sends its next request when the last one was answered. Open loop: requests leave at instants that were fixed
beforehand, whatever became of earlier ones, and wait for a connection in order, so that a slow server cannot hide its slowness.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import httptools

from bench.children import Document, obey

DRAIN_SECONDS = 30.0
BEHIND_SECONDS_MAX = 1.0
CONNECTIONS_MAX = 512
NUMBER_MARK = "@number@"
ID_MARK = b'"id":"job_'
ID_LENGTH = 30
CREATED = 201


@dataclass(frozen=True, slots=True)
class Requests:
    """What is sent: the same request again and again, but for a number of fixed width in the body and, if asked, a key.

    Or reads, one after the other, of these paths.
    """

    head: bytes = b""
    before: bytes = b""
    after: bytes = b""
    mark: str = ""
    keyed: bool = False
    reads: Sequence[bytes] = ()

    @classmethod
    def of(cls, command: Document) -> "Requests":
        """`mark`, eight characters, makes the numbers of this run different from those of any other."""
        headers = {"Host": f"{command['host']}:{command['port']}", **command["headers"]}
        if paths := command.get("paths"):
            fields = "\r\n".join(f"{name}: {value}" for name, value in headers.items())
            return cls(reads=[f"GET {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() for path in paths])
        before, after = command["body"].encode().split(NUMBER_MARK.encode())
        length = len(before) + len(_number(command["mark"], 0)) + len(after)
        headers |= {"Content-Type": "application/json", "Content-Length": str(length)}
        lines = [f"POST {command['path']} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return cls("\r\n".join(lines).encode(), before, after, command["mark"], command["keyed"])

    def numbered(self, number: int) -> bytes:
        """The request of that number."""
        if self.reads:
            return self.reads[number % len(self.reads)]
        unique = _number(self.mark, number).encode()
        key = b"\r\nIdempotency-Key: " + unique if self.keyed else b""
        return b"%b%b\r\n\r\n%b%b%b" % (self.head, key, self.before, unique, self.after)


def _number(mark: str, number: int) -> str:
    return f"{mark}{number:08d}"


def job_id(body: bytes) -> bytes | None:
    """The id of the job in an answer or a webhook; found by its first place, because parsing would cost more than all the rest."""
    at = body.find(ID_MARK)
    return body[at + 6 : at + 6 + ID_LENGTH] if at >= 0 else None


class Connection(asyncio.Protocol):
    """One kept connection with at most one request under way."""

    def __init__(self, answered: Callable[["Connection", int, bytes], None], lost: Callable[["Connection"], None]):
        self._answered = answered
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.due_ns = 0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one, but not by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, due_ns: int) -> None:
        assert self._transport is not None
        self.due_ns = due_ns
        self.busy = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self._body.append(part)

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self.busy = False
        self._answered(self, self._parser.get_status_code(), body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@dataclass(slots=True)
class Run:
    """One measurement: what was sent, and when each job was answered."""

    requests: Requests
    ends_ns: int = 0
    begun_ns: int = 0
    last_ns: int = 0
    sent: int = 0
    finished: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    latencies_ns: list[int] = field(default_factory=list)
    answered_ns: dict[str, int] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)
    idle: deque[Connection] = field(default_factory=deque)
    waiting: deque[tuple[bytes, int]] = field(default_factory=deque)
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    closed_loop: bool = True
    sustained: bool = True

    async def connect(self, host: str, port: int, count: int) -> None:
        loop = asyncio.get_running_loop()
        assert 0 < count <= CONNECTIONS_MAX
        for _ in range(count):
            _, connection = await loop.create_connection(lambda: Connection(self._answered, self._lost), host, port)
            self.connections.append(connection)
            self.idle.append(connection)

    async def closed(self, seconds: float) -> None:
        """As many requests as are answered in that time, one under way on each connection."""
        self.begun_ns = time.monotonic_ns()
        self.ends_ns = self.begun_ns + round(seconds * 1e9)
        while self.idle:
            self._send(self.idle.popleft(), time.monotonic_ns())
        await self._end(seconds)

    async def open(self, rate: float, seconds: float) -> None:
        """`rate` requests a second at fixed instants; given up when so many wait that it is clear that the rate cannot be sustained."""
        self.closed_loop = False
        loop = asyncio.get_running_loop()
        count = round(rate * seconds)
        self.begun_ns = time.monotonic_ns()
        first = loop.time()
        for number in range(count):
            due = first + number / rate
            if (delay := due - loop.time()) > 0:
                await asyncio.sleep(delay)
            self._begin(self.begun_ns + round(number / rate * 1e9))
            if len(self.waiting) > rate * BEHIND_SECONDS_MAX:
                # It will not catch up; more requests would only show how long we went on.
                self.sent -= len(self.waiting)
                self.waiting.clear()
                self.sustained = False
                break
        self.ends_ns = time.monotonic_ns()
        await self._end(0)

    def answer(self) -> Document:
        return {
            "sent": self.sent,
            "sustained": self.sustained,
            "statuses": dict(self.statuses),
            "seconds": (self.last_ns - self.begun_ns) / 1e9,
            "begun_ns": self.begun_ns,
            "latencies_ns": self.latencies_ns,
            "answered_ns": self.answered_ns,
        }

    async def _end(self, seconds: float) -> None:
        if self.finished == self.sent and self.ends_ns <= time.monotonic_ns():
            self.drained.set()
        async with asyncio.timeout(seconds + DRAIN_SECONDS):
            await self.drained.wait()
        for connection in self.connections:
            connection.close()

    def _begin(self, due_ns: int) -> None:
        request = self.requests.numbered(self.sent)
        self.sent += 1
        if self.idle:
            self.idle.popleft().send(request, due_ns)
        else:
            self.waiting.append((request, due_ns))

    def _send(self, connection: Connection, now_ns: int) -> None:
        request = self.requests.numbered(self.sent)
        self.sent += 1
        connection.send(request, now_ns)

    def _answered(self, connection: Connection, status: int, body: bytes) -> None:
        now_ns = time.monotonic_ns()
        self.statuses[str(status)] += 1
        self.finished += 1
        self.last_ns = now_ns
        self.latencies_ns.append(now_ns - connection.due_ns)
        if status == CREATED and (found := job_id(body)) is not None:
            self.answered_ns[found.decode()] = now_ns
        if self.waiting:
            connection.send(*self.waiting.popleft())
        elif self.closed_loop and now_ns < self.ends_ns:
            self._send(connection, now_ns)
        else:
            self.idle.append(connection)
            self._check_drained(now_ns)

    def _lost(self, connection: Connection) -> None:
        if connection.busy:
            self.statuses["connection lost"] += 1
            self.finished += 1
        if connection in self.idle:
            self.idle.remove(connection)
        self._check_drained(time.monotonic_ns())

    def _check_drained(self, now_ns: int) -> None:
        if self.finished == self.sent and self.ends_ns and now_ns >= self.ends_ns:
            self.drained.set()


async def closed_loop(command: Document) -> Document:
    """`connections` at work for `duration_seconds`."""
    run = Run(Requests.of(command))
    await run.connect(command["host"], command["port"], command["connections"])
    await run.closed(command["duration_seconds"])
    return run.answer()


async def open_loop(command: Document) -> Document:
    """`rate` requests a second for `duration_seconds` over at most `connections`."""
    run = Run(Requests.of(command))
    await run.connect(command["host"], command["port"], command["connections"])
    await run.open(command["rate"], command["duration_seconds"])
    return run.answer()


if __name__ == "__main__":
    obey({"closed": closed_loop, "open": open_loop})
