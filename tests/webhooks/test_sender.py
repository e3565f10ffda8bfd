"""Single attempts against real servers: the request, the outcome of every response and time-out, and what is stored."""

import asyncio
import gzip
import socket
import time
import zlib
from collections.abc import Sequence
from uuid import uuid4

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.harness.http_harness import BODY, KEY, OK, TRACEPARENT, attempt, message, open_sender, target
from tests.harness.servers import read_request, reset_connection, saying, serving, speaking
from webhooks import signatures
from webhooks.http_client.connection import HEAD_BYTES_MAX, HEADERS_MAX, RECEIVED_BYTES_MAX
from webhooks.http_client.requests import DeliveryTarget
from webhooks.http_client.responses import BODY_BYTES_MAX, BODY_CHARACTERS_KEPT

UNREAD = "[the rest could not be read]"
CUT = f"[cut: no more than {BODY_BYTES_MAX} bytes are read]"
pytestmark = pytest.mark.production_loop

SOON_SECONDS = 8.0
"""Earlier than any deadline that a test does not set."""
EARLY_MS = 20
"""Seconds by which a phase may be shorter or longer than its deadline."""


# -- the request ---------------------------------------------------------------------------------------------------------


async def test_a_request_is_signed_and_carries_body_trace_and_custom_headers() -> None:
    received: list[tuple[str, dict[str, str], bytes]] = []

    async def accept(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received.append((request.raw_path, headers, await request.read()))
        return web.Response()

    async with serving(accept) as url:
        outcome = await attempt(f"{url}/a%20b;v=1?b=c&d", headers={"X-Source": "waybill"})

    ((path, headers, body),) = received
    assert (outcome.cause, outcome.response_status) == (None, 200)
    assert (path, body) == ("/a%20b;v=1?b=c&d", BODY)
    Webhook(signatures.format_secret(KEY)).verify(body, headers)
    assert headers["content-type"] == "application/json"
    assert headers["traceparent"] == TRACEPARENT
    assert headers["x-source"] == "waybill"
    assert headers["host"] == url.removeprefix("http://")
    assert headers["user-agent"].startswith("Waybill-Webhooks/")
    assert "cookie" not in headers
    assert "authorization" not in headers


async def test_two_keys_sign_while_a_secret_is_being_rotated_and_a_key_pair_besides() -> None:
    received: list[dict[str, str]] = []
    older, seed = signatures.new_secret(), signatures.new_signing_key()

    async def accept(request: web.Request) -> web.Response:
        received.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response()

    async with serving(accept) as url, open_sender() as sender:
        rotating = DeliveryTarget(uuid4(), 1, url, (), (KEY, older), signing_key=signatures.signing_key(seed))
        await sender.attempt(rotating, message())

    (headers,) = received
    for key in (KEY, older):
        Webhook(signatures.format_secret(key)).verify(BODY, headers)
    assert [part.partition(",")[0] for part in headers["webhook-signature"].split()] == ["v1", "v1", "v1a"]


async def test_a_changed_endpoint_is_sent_to_as_it_is_now() -> None:
    paths: list[str] = []

    async def accept(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response()

    async with serving(accept) as url, open_sender() as sender:
        endpoint_id = uuid4()
        for version in (1, 2):
            await sender.attempt(DeliveryTarget(endpoint_id, version, f"{url}/v{version}", (), (KEY,)), message())

    assert paths == ["/v1", "/v2"]


async def test_cookies_are_not_kept() -> None:
    cookies: list[str | None] = []

    async def bake(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "session=1"})

    async with serving(bake) as url, open_sender() as sender:
        for _ in range(2):
            await sender.attempt(target(url), message())

    assert cookies == [None, None]


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    async with speaking(saying(OK)) as url:
        assert (await attempt(url)).cause is None


async def test_a_target_without_its_key_is_not_sent_to() -> None:
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1

    async with speaking(count) as url, open_sender() as sender:
        outcome = await sender.attempt(DeliveryTarget(uuid4(), 1, url, (), ()), message())

    assert (outcome.cause, connections) == ("secret_unreadable", 0)


async def test_a_custom_header_that_would_change_the_request_is_not_sent() -> None:
    async with speaking(saying(OK)) as url:
        assert (await attempt(url, headers={"X-A": "b\r\nContent-Length: 0"})).cause == "blocked"


# -- the response --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_only_a_2xx_is_success(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serving(answer) as url:
        outcome = await attempt(url)

    assert (outcome.cause, outcome.response_status) == (None, status)


@pytest.mark.parametrize("status", [304, 400, 401, 404, 410, 429, 500, 503])
async def test_any_other_status_is_a_failure(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "17"})

    async with serving(answer) as url:
        outcome = await attempt(url)

    assert (outcome.cause, outcome.response_status, outcome.retry_after) == ("status", status, "17")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    paths: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, headers={"Location": "/secret"})

    async with serving(redirect) as url:
        outcome = await attempt(f"{url}/hook")

    assert (outcome.cause, outcome.response_status) == ("status", status)
    assert paths == ["/hook"]


async def test_the_beginning_of_a_body_is_stored_printable_and_without_confidential_values() -> None:
    async def echo(request: web.Request) -> web.Response:
        text = f"got {request.headers['Authorization']} \x00\x1b[31m whsec_{'A' * 32} é " + "x" * 10_000
        return web.Response(status=400, text=text)

    async with serving(echo) as url:
        outcome = await attempt(url, headers={"Authorization": "Bearer sesame-open-sesame"})

    body = outcome.response_body
    assert body is not None
    assert body.startswith("got ")
    assert "sesame" not in body
    assert "AAAA" not in body
    assert "\x00" not in body
    assert "\x1b" not in body
    assert "é" in body
    assert len(body) <= BODY_CHARACTERS_KEPT


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nas long as the connection", 200, "as long as the connection"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", 200, "old"),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold", 200, "old"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, None),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, "ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </x>\r\nRetry-After: 9\r\n\r\n" + OK, 200, "ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n", 200, "ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nRetry-After: 9\r\n\r\n", 200, "ok"),
        (b"HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n", 204, None),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_every_form_of_a_response_is_read(said: bytes, status: int, body: str | None, bytewise: bool) -> None:
    parts = [bytes([byte]) for byte in said] if bytewise else [said]
    async with speaking(saying(*parts)) as url:
        outcome = await attempt(url)

    assert (outcome.cause, outcome.response_status, outcome.response_body) == (None, status, body)
    assert outcome.retry_after is None


@pytest.mark.parametrize(
    "said",
    [
        b"220 mail.example.com ESMTP\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 2OO OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTPS/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nX-A: \x00\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_an_incomplete_or_malformed_head_is_a_protocol_error(said: bytes) -> None:
    async with speaking(saying(said)) as url:
        outcome = await attempt(url)

    assert outcome.cause == "protocol"


async def test_a_server_that_speaks_first_is_a_protocol_error() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await reader.read()

    async with speaking(greet) as url:
        assert (await attempt(url)).cause == "protocol"


async def test_a_connection_that_is_reset_in_the_middle_of_a_body_is_noted() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        reset_connection(writer)

    async with speaking(reset) as url:
        outcome = await attempt(url)

    assert (outcome.cause, outcome.response_status) == (None, 200)
    # What had arrived may be lost with the connection.
    assert outcome.response_body in (f"half\n{UNREAD}", UNREAD)


@pytest.mark.parametrize("rudely", [False, True])
async def test_a_new_connection_that_ends_without_an_answer_is_a_connect_error_and_not_tried_again(
    rudely: bool,
) -> None:
    connections = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        if rudely:
            reset_connection(writer)

    async with speaking(hang_up) as url:
        outcome = await attempt(url)

    assert (outcome.cause, connections) == ("connect", 1)


async def test_a_port_where_nobody_listens_is_a_connect_error() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        assert (await attempt(f"http://127.0.0.1:{port}")).cause == "connect"


async def test_a_name_that_does_not_exist_is_a_dns_error() -> None:
    outcome = await attempt("http://nobody.invalid", timeout_seconds=60, dns_timeout_seconds=60)

    assert outcome.cause == "dns"
    assert outcome.timings.dns_ms is not None
    assert outcome.timings.connect_ms is None


# -- too large -----------------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_too_large_is_cut() -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b"x" * 16_384)
        return response

    async with serving(flood) as url:
        started = time.monotonic()
        outcome = await attempt(url)

    assert (outcome.cause, outcome.response_status) == (None, 200)
    assert outcome.response_body is not None
    assert outcome.response_body.endswith(f"x\n{CUT}")
    assert len(outcome.response_body) == BODY_CHARACTERS_KEPT
    assert time.monotonic() - started < SOON_SECONDS


async def test_the_largest_answer_that_is_read_is_as_large_as_we_say() -> None:
    for size, is_cut in ((BODY_BYTES_MAX, False), (BODY_BYTES_MAX + 1, True)):
        said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        async with speaking(saying(said)) as url:
            outcome = await attempt(url)
        assert outcome.cause is None
        assert str(outcome.response_body).endswith(CUT) == is_cut


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_decompression_bomb_is_not_expanded(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
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

    monkeypatch.setattr("webhooks.http_client.responses.zlib.decompressobj", watched)
    monkeypatch.setattr("webhooks.http_client.connection.BODY_BYTES_MAX", len(bomb))
    async with serving(explode) as url:
        outcome = await attempt(url)

    assert outcome.cause is None
    assert str(outcome.response_body).endswith(CUT)
    assert 0 < largest <= BODY_BYTES_MAX + 1


@pytest.mark.parametrize(
    ("coding", "body", "kept"),
    [
        ("gzip", gzip.compress(b"thank you", mtime=0), "thank you"),
        ("X-GZIP", gzip.compress(b"thank you", mtime=0), "thank you"),
        ("deflate", zlib.compress(b"thank you"), "thank you"),
        ("deflate", zlib.compress(b"thank you")[2:-4], "thank you"),
        ("identity", b"thank you", "thank you"),
        ("br", b"\x0b\x02\x80thank you\x03", None),
        ("gzip, gzip", gzip.compress(gzip.compress(b"thank you", mtime=0), mtime=0), None),
        ("gzip", b"thank you", "thank you\n[not in the coding gzip]"),
        ("deflate", b"thank you", "thank you\n[not in the coding deflate]"),
        ("gzip", b"", None),
    ],
)
async def test_a_compressed_answer_is_read_if_it_is_what_it_says(coding: str, body: bytes, kept: str | None) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with speaking(saying(head.encode() + body)) as url:
        outcome = await attempt(url)

    assert outcome.cause is None
    assert outcome.response_body == kept


@pytest.mark.parametrize(
    ("beginning", "repeated"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 100),
        (b"HTTP/1.1 200 OK\r\n", b"b" * 100),
        (b"HTTP/1.1 200 ", b"b" * 100),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=", b"b" * 100),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"b" * 200 + b"\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"),
    ],
)
async def test_no_part_of_an_answer_goes_on_for_ever(beginning: bytes, repeated: bytes) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(beginning)
        while True:
            writer.write(repeated * 20)
            await writer.drain()
            sent += len(repeated) * 20

    async with speaking(flood) as url:
        started = time.monotonic()
        outcome = await attempt(url)

    assert outcome.cause == (None if b"\r\n\r\n" in beginning else "too_large")
    assert time.monotonic() - started < SOON_SECONDS
    # The buffers of the operating system come on top.
    assert sent < 2 * RECEIVED_BYTES_MAX + 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("count", "size", "cause"),
    [(HEADERS_MAX - 1, 10, None), (HEADERS_MAX, 10, "too_large"), (2, HEAD_BYTES_MAX // 2, "too_large")],
)
async def test_a_head_has_so_many_headers_and_bytes_at_most(count: int, size: int, cause: str | None) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"b" * size) for number in range(count))
    async with speaking(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + headers + b"\r\n")) as url:
        assert (await attempt(url)).cause == cause


# -- too slow ------------------------------------------------------------------------------------------------------------


def lasted(milliseconds: int | None, seconds: float) -> bool:
    """True if that took as long as this deadline, which is earlier than all others."""
    return milliseconds is not None and seconds * 1000 - EARLY_MS <= milliseconds < SOON_SECONDS * 1000


@pytest.mark.parametrize(
    ("beginning", "drop"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"."),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n.\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"."),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
async def test_a_slow_response_ends_with_the_deadline(beginning: bytes, drop: bytes) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(beginning)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.05)

    async with speaking(drip) as url:
        started = time.monotonic()
        outcome = await attempt(url, timeout_seconds=0.4)

    assert outcome.cause == (None if b"\r\n\r\n" in beginning else "timeout")
    assert lasted(int((time.monotonic() - started) * 1000), 0.4)
    assert lasted(outcome.timings.total_ms, 0.4)


async def test_a_receiver_that_is_silent_ends_with_the_deadline_of_the_first_byte() -> None:
    async def think(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with speaking(think) as url:
        outcome = await attempt(url, first_byte_timeout_seconds=0.2)

    assert outcome.cause == "timeout"
    assert lasted(outcome.timings.first_byte_ms, 0.2)


async def test_an_answer_that_has_begun_has_the_whole_time() -> None:
    async with speaking(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", b"k", pause_seconds=2.5)) as url:
        outcome = await attempt(url, first_byte_timeout_seconds=2)

    assert (outcome.cause, outcome.response_body) == (None, "ok")


async def test_a_receiver_that_does_not_read_ends_with_the_deadline_of_the_first_byte() -> None:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        outcome = await attempt(url, body=b"x" * 8 * 1024 * 1024, first_byte_timeout_seconds=0.2)

    assert outcome.cause == "timeout"


async def test_a_receiver_that_swallows_connections_ends_with_the_deadline_of_connecting() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        try:
            outcome = await attempt(f"http://127.0.0.1:{port}", connect_timeout_seconds=0.3)
        finally:
            for one in waiting:
                one.close()

    assert outcome.cause == "timeout"
    assert lasted(outcome.timings.connect_ms, 0.3)
    assert outcome.timings.first_byte_ms is None


async def test_a_handshake_that_is_not_answered_ends_with_the_deadline_of_connecting() -> None:
    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with speaking(ignore) as url:
        outcome = await attempt(url.replace("http:", "https:"), connect_timeout_seconds=0.3)

    assert outcome.cause == "timeout"
    assert outcome.timings.tls_ms is not None
    # On a busy machine much of it may go before the handshake begins.
    assert lasted((outcome.timings.connect_ms or 0) + outcome.timings.tls_ms, 0.3)


async def test_a_name_server_that_does_not_answer_ends_with_its_deadline_and_is_asked_once() -> None:
    asked = 0

    async def ponder(host: str) -> Sequence[str]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(60)
        return []

    async with open_sender(look_up=ponder, dns_timeout_seconds=0.2) as sender:
        outcomes = await asyncio.gather(
            *(sender.attempt(target("http://slow.example.com"), message()) for _ in range(20))
        )

    assert {outcome.cause for outcome in outcomes} == {"timeout"}
    assert lasted(outcomes[0].timings.dns_ms, 0.2)
    assert asked == 1


async def test_the_deadline_of_the_whole_holds_while_a_connection_is_made() -> None:
    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with speaking(ignore) as url:
        outcome = await attempt(url.replace("http:", "https:"), timeout_seconds=0.3)

    assert outcome.cause == "timeout"
    assert lasted(outcome.timings.total_ms, 0.3)
