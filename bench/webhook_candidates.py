"""HTTP clients that deliveries could be sent with, a process of its own.

Each signs, checks the address that it connects to, keeps a deadline over the whole, bounds the answer, and makes the same outcome of it.
`bare` does none of that: it is the floor.
"""

import asyncio
import resource
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import httptools
from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from bench.children import Document, obey
from shared.ids import new_id
from webhooks import signatures
from webhooks.http_client import rules as http_client_rules
from webhooks.http_client.requests import DeliveryTarget, Message
from webhooks.http_client.responses import BODY_BYTES_MAX, Cause, Outcome
from webhooks.http_client.rules import parse_networks
from webhooks.http_client.sender import Sender

LOOPBACK = parse_networks("127.0.0.0/8")
RECEIVER_ADDRESS = "127.0.0.1"
TIMEOUT_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 4.0
USER_AGENT = "Waybill-Webhooks/1"

Done = Callable[[Outcome], None]
Send = Callable[[DeliveryTarget, Message], Awaitable[Outcome]]


async def look_up(_: str) -> list[str]:
    """Every name of the bench is this machine."""
    return [RECEIVER_ADDRESS]


def check(host: str, port: int) -> None:
    if not http_client_rules.may_connect(ip_address(host), port, LOOPBACK):
        raise PermissionError(host)


def headers_of(target: DeliveryTarget, message: Message, now: datetime) -> dict[str, str]:
    timestamp = int(now.timestamp())
    signed = signatures.Signer(target.keys).sign(message.webhook_id, timestamp, message.body)
    return {
        **dict(target.headers),
        "traceparent": message.traceparent or "",
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        "webhook-id": message.webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signed,
    }


def outcome_of(started_at: datetime, began: float, status: int, body: bytes) -> Outcome:
    latency_ms = round((time.perf_counter() - began) * 1000)
    cause: Cause | None = None if 200 <= status < 300 else "status"
    text = body.decode("utf-8", "replace") or None
    return Outcome(round(started_at.timestamp() * 1e6), latency_ms, cause, status, text)


# -- aiohttp: what deliveries were sent with before ----------------------------------------------------------------------


class Resolver(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        check(RECEIVER_ADDRESS, port)
        flags = socket.AI_NUMERICHOST
        return [
            ResolveResult(hostname=host, host=RECEIVER_ADDRESS, port=port, family=socket.AF_INET, proto=0, flags=flags)
        ]

    async def close(self) -> None:
        return


def with_aiohttp(ca_file: Path | None) -> tuple[Send, Callable[[], Awaitable[None]]]:
    def make_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        check(str(address[0]), int(address[1]))
        return socket.socket(family=family, type=kind, proto=protocol)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            ttl_dns_cache=30,
            happy_eyeballs_delay=None,
            resolver=Resolver(),
            socket_factory=make_socket,
            ssl=ssl.create_default_context(cafile=str(ca_file)) if ca_file else True,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        requote_redirect_url=False,
        skip_auto_headers=("Accept", "User-Agent"),
    )
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_SECONDS)

    async def send(target: DeliveryTarget, message: Message) -> Outcome:
        started_at, began = datetime.now(UTC), time.perf_counter()
        headers = headers_of(target, message, started_at)
        answer = bytearray()
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            session.post(
                URL(target.url), data=message.body, headers=headers, allow_redirects=False, timeout=timeout
            ) as response,
        ):
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > BODY_BYTES_MAX:
                    raise OverflowError
        return outcome_of(started_at, began, response.status, bytes(answer))

    return send, session.close


# -- pyreqwest: a client in Rust, if it is installed -----------------------------------------------------------------------


def with_pyreqwest(ca_file: Path | None) -> tuple[Send, Callable[[], Awaitable[None]]]:
    from pyreqwest.client import ClientBuilder  # type: ignore[import-not-found,unused-ignore]

    clients: dict[str, Any] = {}

    def client_for(host: str, port: int) -> Any:
        # It can be pinned to an address that was checked only as a whole: one client for each name.
        client = clients.get(host)
        if client is None:
            check(RECEIVER_ADDRESS, port)
            builder = (
                ClientBuilder()
                .resolve(host, RECEIVER_ADDRESS, port)
                .follow_redirects(False)
                .no_proxy()
                .http1_only()
                .gzip(False)
                .brotli(False)
                .zstd(False)
                .deflate(False)
                .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT_SECONDS))
                .timeout(timedelta(seconds=TIMEOUT_SECONDS))
                .pool_idle_timeout(timedelta(seconds=KEEP_ALIVE_SECONDS))
            )
            if ca_file is not None:
                builder = builder.add_root_certificate_pem(ca_file.read_bytes())
            client = clients[host] = builder.build()
        return client

    async def send(target: DeliveryTarget, message: Message) -> Outcome:
        started_at, began = datetime.now(UTC), time.perf_counter()
        headers = headers_of(target, message, started_at)
        parts = urlsplit(target.url)
        client = client_for(parts.hostname or "", parts.port or 443)
        request = client.post(target.url).headers(headers).body_bytes(message.body)
        answer = bytearray()
        async with request.build_streamed() as response:
            while chunk := await response.body_reader.read():
                answer += chunk
                if len(answer) > BODY_BYTES_MAX:
                    raise OverflowError
        return outcome_of(started_at, began, response.status, bytes(answer))

    async def close() -> None:
        for client in clients.values():
            await client.close()

    return send, close


# -- the floor: a protocol on httptools that does nothing else -------------------------------------------------------------


class Bare(asyncio.Protocol):
    """Sends the same bytes again and again and counts answers."""

    def __init__(self, request: bytes, answered: Callable[["Bare"], None]):
        self._request = request
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def again(self) -> None:
        assert self._transport is not None
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._answered(self)


async def run_bare(targets: list[DeliveryTarget], body: bytes, requests: int, in_flight: int) -> None:
    loop = asyncio.get_running_loop()
    left = requests
    under_way = in_flight
    ended = asyncio.Event()
    parts = urlsplit(targets[0].url)
    assert parts.port is not None
    port = parts.port
    headers = headers_of(targets[0], message_of(body), datetime.now(UTC))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST / HTTP/1.1\r\nHost: {parts.netloc}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"

    def answered(connection: Bare) -> None:
        nonlocal left, under_way
        left -= 1
        if left >= in_flight:
            connection.again()
            return
        under_way -= 1
        if under_way == 0:
            ended.set()

    for _ in range(in_flight):
        _, connection = await loop.create_connection(
            lambda: Bare(head.encode() + body, answered), RECEIVER_ADDRESS, port
        )
        connection.again()
    await ended.wait()


# -- measuring -------------------------------------------------------------------------------------------------------------


def message_of(body: bytes) -> Message:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    return Message(new_id("evt"), body, trace, datetime.now(UTC))


async def run_awaited(
    send: Send, targets: list[DeliveryTarget], message: Message, requests: int, in_flight: int
) -> int:
    """How many were accepted. The cheapest way to use such a client: a task for each place, not for each attempt."""
    accepted = 0
    turns = iter(range(requests))

    async def work() -> None:
        nonlocal accepted
        for turn in turns:
            outcome = await send(targets[turn % len(targets)], message)
            accepted += outcome.cause is None

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return accepted


async def run_called_back(
    sender: Sender, targets: list[DeliveryTarget], message: Message, requests: int, in_flight: int
) -> int:
    """How many were accepted."""
    accepted = 0
    ended = 0
    turns = iter(range(requests))
    all_ended = asyncio.Event()

    def done(outcome: Outcome) -> None:
        nonlocal accepted, ended
        accepted += outcome.cause is None
        ended += 1
        if ended == requests:
            all_ended.set()
        begin()

    def begin() -> None:
        turn = next(turns, None)
        if turn is not None:
            sender.send(targets[turn % len(targets)], message, done)

    for _ in range(in_flight):
        begin()
    await all_ended.wait()
    return accepted


async def measure(command: Document) -> Document:
    """Send `requests` to `urls` in turns after as many as it takes to open the connections: seconds and processor seconds."""
    ca_file = Path(command["ca_file"]) if command["ca_file"] else None
    key = signatures.new_secret()
    targets = [DeliveryTarget(uuid4(), 1, url, (), (key,)) for url in command["urls"]]
    body: bytes = b'{"type":"job.created","data":"%s"}' % (b"x" * command["body_bytes"])
    message = message_of(body)
    requests, in_flight = command["requests"], command["in_flight"]
    match command["candidate"]:
        case "own":
            sender = Sender(
                timeout_seconds=TIMEOUT_SECONDS,
                connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
                first_byte_timeout_seconds=10,
                allowed_networks=LOOPBACK,
                ca_file=ca_file,
                look_up=look_up,
            )
            return await _measured(
                lambda count: run_called_back(sender, targets, message, count, in_flight), requests, sender.close
            )
        case "bare":

            async def run(count: int) -> int:
                await run_bare(targets, body, count, in_flight)
                return count

            return await _measured(run, requests, None)
        case name:
            send, close = (with_aiohttp if name == "aiohttp" else with_pyreqwest)(ca_file)
            return await _measured(lambda count: run_awaited(send, targets, message, count, in_flight), requests, close)


async def available(_: Document) -> Document:
    """Which candidates can be measured here."""
    found = ["bare", "own", "aiohttp"]
    with suppress(ImportError):
        import pyreqwest  # type: ignore[import-not-found,unused-ignore]  # noqa: F401

        found.append("pyreqwest")
    return {"candidates": found}


async def _measured(
    run: Callable[[int], Awaitable[int]], requests: int, close: Callable[[], Awaitable[None]] | None
) -> Document:
    await run(max(2000, requests // 10))
    spent, began = _spent_seconds(), time.perf_counter()
    accepted = await run(requests)
    seconds, spent = time.perf_counter() - began, _spent_seconds() - spent
    if close is not None:
        await close()
    return {"seconds": seconds, "spent_seconds": spent, "accepted": accepted}


def _spent_seconds() -> float:
    """Of all threads: a client in Rust has its own."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    obey({"measure": measure, "available": available})
