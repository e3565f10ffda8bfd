"""One attempt against real servers: what it sends, what it makes of every answer, and where it refuses to go."""

import asyncio
import gzip
import socket
import ssl
import time
import zlib
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook

from shared.ids import new_id
from tests.support.webhooks import LOOPBACK, serving, speaking
from webhooks.attempts import Message
from webhooks.domain import signatures
from webhooks.domain.addresses import Network
from webhooks.domain.retries import Outcome
from webhooks.targets import Target
from webhooks.worker import Sender
from webhooks.worker.sender import BODY_BYTES_MAX, BODY_CHARACTERS_KEPT

KEY = signatures.new_secret()
BODY = '{"type":"job.created","timestamp":"2030-01-31T12:00:00Z","data":{"city":"Montréal"}}'.encode()
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def message() -> Message:
    return Message(new_id("evt"), BODY, TRACEPARENT, datetime.now(UTC))


def target(url: str, **headers: str) -> Target:
    return Target(uuid4(), 1, url, tuple(headers.items()), (KEY,))


async def send(
    url: str,
    *,
    allowed: tuple[Network, ...] = LOOPBACK,
    timeout_seconds: float = 3,
    resolver: AbstractResolver | None = None,
    headers: dict[str, str] | None = None,
) -> Outcome:
    """The outcome of one attempt by a sender of its own."""
    sender = Sender(
        timeout_seconds=timeout_seconds, connect_timeout_seconds=1, allowed_networks=allowed, resolver=resolver
    )
    try:
        return await sender.send(target(url, **(headers or {})), message())
    finally:
        await sender.close()


class Names(AbstractResolver):
    """A resolver that answers what it was told, as a hostile name server can."""

    def __init__(self, *answers: list[str]):
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in answer
        ]

    async def close(self) -> None:
        return


# -- what is sent --------------------------------------------------------------------------------------------------------


async def test_a_request_is_signed_and_carries_body_trace_and_custom_headers() -> None:
    received: list[tuple[dict[str, str], bytes]] = []

    async def accept(request: web.Request) -> web.Response:
        received.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response()

    async with serving(accept) as url:
        outcome = await send(f"{url}/a?b=c", headers={"X-Source": "waybill"})

    ((headers, body),) = received
    assert (outcome.cause, outcome.response_status) == (None, 200)
    assert body == BODY
    Webhook(signatures.shown(KEY)).verify(body, headers)
    assert headers["content-type"] == "application/json"
    assert headers["traceparent"] == TRACEPARENT
    assert headers["x-source"] == "waybill"
    assert headers["user-agent"].startswith("Waybill-Webhooks/")
    assert "cookie" not in headers


async def test_connections_are_kept_and_a_closed_one_is_replaced() -> None:
    connections = 0

    async def close_after_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert f"content-length: {len(BODY)}".encode() in head.lower()
            await reader.readexactly(len(BODY))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
        # The third request is read, and the connection closed in its face.
        await reader.readuntil(b"\r\n\r\n")

    async with speaking(close_after_two) as url:
        sender = Sender(timeout_seconds=3, connect_timeout_seconds=1, allowed_networks=LOOPBACK)
        outcomes = [await sender.send(target(url), message()) for _ in range(3)]
        await sender.close()

    assert [outcome.cause for outcome in outcomes] == [None, None, None]
    assert connections == 2


async def test_cookies_are_not_kept() -> None:
    cookies: list[str | None] = []

    async def bake(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "session=1"})

    async with serving(bake) as url:
        sender = Sender(timeout_seconds=3, connect_timeout_seconds=1, allowed_networks=LOOPBACK)
        for _ in range(2):
            await sender.send(target(url), message())
        await sender.close()

    assert cookies == [None, None]


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def accept(_: web.Request) -> web.Response:
        return web.Response()

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    async with serving(accept) as url:
        assert (await send(url)).cause is None


# -- what comes back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_only_a_2xx_is_success(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serving(answer) as url:
        outcome = await send(url)

    assert (outcome.cause, outcome.response_status) == (None, status)


@pytest.mark.parametrize("status", [304, 400, 401, 404, 410, 429, 500, 503])
async def test_any_other_status_is_a_failure(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "17"})

    async with serving(answer) as url:
        outcome = await send(url)

    assert (outcome.cause, outcome.response_status, outcome.retry_after) == ("status", status, "17")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    paths: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, headers={"Location": "/secret"})

    async with serving(redirect) as url:
        outcome = await send(f"{url}/hook")

    assert (outcome.cause, outcome.response_status) == ("status", status)
    assert paths == ["/hook"]


async def test_the_beginning_of_an_answer_is_kept_legible_and_without_what_we_sent_in_confidence() -> None:
    async def echo(request: web.Request) -> web.Response:
        text = f"got {request.headers['Authorization']} \x00\x1b[31m whsec_{'A' * 32} é " + "x" * 10_000
        return web.Response(status=400, text=text)

    async with serving(echo) as url:
        outcome = await send(url, headers={"Authorization": "Bearer sesame-open-sesame"})

    body = outcome.response_body
    assert body is not None
    assert body.startswith("got ")
    assert "sesame" not in body
    assert "AAAA" not in body
    assert "\x00" not in body
    assert "\x1b" not in body
    assert "é" in body
    assert len(body) <= BODY_CHARACTERS_KEPT


async def test_an_answer_that_is_too_large_is_a_failure() -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b"x" * 16_384)
        return response

    async with serving(flood) as url:
        started = time.monotonic()
        outcome = await send(url)

    assert outcome.cause == "too_large"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_bomb_is_not_inflated(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = b"\x00" * (64 * 1024 * 1024)
    bomb = gzip.compress(zeros) if coding == "gzip" else zlib.compress(zeros)
    largest = 0
    inflating = zlib.decompressobj

    def watched(wbits: int = zlib.MAX_WBITS) -> object:
        real = inflating(wbits)

        class Watch:
            def decompress(self, chunk: bytes, length_max: int = 0) -> bytes:
                nonlocal largest
                inflated = real.decompress(chunk, length_max)
                largest = max(largest, len(inflated))
                return inflated

        return Watch()

    async def explode(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": coding})

    monkeypatch.setattr("webhooks.worker.sender.zlib.decompressobj", watched)
    async with serving(explode) as url:
        outcome = await send(url)

    assert outcome.cause == "too_large"
    assert 0 < largest <= BODY_BYTES_MAX + 1


async def test_a_compressed_answer_is_read() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"thank you"), headers={"Content-Encoding": "gzip"})

    async with serving(answer) as url:
        assert (await send(url)).response_body == "thank you"


async def test_a_body_that_drips_ends_with_the_deadline() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.05)

    async with serving(drip) as url:
        started = time.monotonic()
        outcome = await send(url, timeout_seconds=0.6)

    assert outcome.cause == "timeout"
    assert 0.5 < time.monotonic() - started < 1.5


async def test_a_head_that_drips_ends_with_the_deadline() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with speaking(drip) as url:
        outcome = await send(url, timeout_seconds=0.6)

    assert outcome.cause == "timeout"


async def test_what_is_not_http_is_a_protocol_error() -> None:
    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await writer.drain()

    async with speaking(mumble) as url:
        assert (await send(url)).cause == "protocol"


async def test_a_port_where_nobody_listens_is_a_connect_error() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        assert (await send(f"http://127.0.0.1:{port}")).cause == "connect"


async def test_a_server_without_tls_is_a_tls_error() -> None:
    async def accept(_: web.Request) -> web.Response:
        return web.Response()

    async with serving(accept) as url:
        assert (await send(url.replace("http:", "https:"))).cause == "tls"


async def test_a_name_that_does_not_exist_is_a_dns_error() -> None:
    assert (await send("http://nobody.invalid")).cause == "dns"


# -- where it does not go ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "0",
        "0.0.0.0",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "localhost",
        "localhost.",
        "LocalHost",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fec0::1]",
        "[fc00::1]",
        "[ff02::1]",
    ],
)
async def test_no_spelling_of_a_private_address_is_connected_to(host: str) -> None:
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1

    async with speaking(count) as url:
        port = url.rpartition(":")[2]
        outcome = await send(f"http://{host}:{port}/", allowed=())

    assert outcome.cause == "blocked"
    assert connections == 0


@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], ["::1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]]
)
async def test_a_name_that_resolves_to_a_private_address_is_blocked(answer: list[str]) -> None:
    assert (await send("http://receiver.example.com", allowed=(), resolver=Names(answer))).cause == "blocked"


async def test_a_name_that_is_rebound_between_attempts_is_blocked() -> None:
    async def accept(_: web.Request) -> web.Response:
        # No connection to keep: the next attempt must make its own.
        return web.Response(headers={"Connection": "close"})

    async with serving(accept) as url:
        port = url.rpartition(":")[2]
        resolver = Names(["127.0.0.1"], ["10.0.0.1"])
        sender = Sender(timeout_seconds=3, connect_timeout_seconds=1, allowed_networks=LOOPBACK, resolver=resolver)
        first = await sender.send(target(f"http://receiver.example.com:{port}"), message())
        assert sender._session is not None
        connector = sender._session.connector
        assert connector is not None
        connector.clear_dns_cache()  # type: ignore[attr-defined]
        second = await sender.send(target(f"http://receiver.example.com:{port}"), message())
        await sender.close()

    assert (first.cause, second.cause) == (None, "blocked")


async def test_a_blocked_port_stays_blocked_in_an_allowed_network() -> None:
    assert (await send("http://127.0.0.1:5432")).cause == "blocked"


async def test_a_target_without_its_key_is_not_sent_to() -> None:
    received = 0

    async def accept(_: web.Request) -> web.Response:
        nonlocal received
        received += 1
        return web.Response()

    async with serving(accept) as url:
        sender = Sender(timeout_seconds=3, connect_timeout_seconds=1, allowed_networks=LOOPBACK)
        outcome = await sender.send(Target(uuid4(), 1, url, (), ()), message())
        await sender.close()

    assert (outcome.cause, received) == ("secret_unreadable", 0)


async def test_a_certificate_that_nobody_vouches_for_is_a_tls_error(tmp_path: Path) -> None:
    received = 0

    async def accept(_: web.Request) -> web.Response:
        nonlocal received
        received += 1
        return web.Response()

    async with serving(accept, tls=self_signed(tmp_path)) as url:
        outcome = await send(url)

    assert (outcome.cause, received) == ("tls", 0)


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate for 127.0.0.1 that it issued to itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
