"""What attempts share: idle connections, DNS, TLS, the end of an attempt and of a sender."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.harness.http_harness import BODY, OK, attempt, message, names, of_name, open_sender, target
from tests.harness.servers import Authority, read_request, reset_connection, saying, serving, speaking
from tests.harness.waiting import eventually
from webhooks.http_client.requests import DeliveryTarget
from webhooks.http_client.responses import CauseDetail, Outcome

pytestmark = pytest.mark.production_loop

SOON_SECONDS = 15.0


# -- idle connections ---------------------------------------------------------------------------------------------------


async def test_connections_are_kept_and_a_closed_one_is_replaced() -> None:
    connections = 0

    async def close_after_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            assert (await read_request(reader))[1] == BODY
            writer.write(OK)
            await writer.drain()
        # The third request is read, and its connection closed without a response.
        await reader.readuntil(b"\r\n\r\n")

    async with speaking(close_after_two) as url, open_sender() as sender:
        outcomes = [await sender.attempt(target(url), message()) for _ in range(3)]

    assert [outcome.cause for outcome in outcomes] == [None, None, None]
    assert connections == 2
    # The second request used the open connection; the third needed a new one.
    assert [outcome.timings.connect_ms is None for outcome in outcomes] == [False, True, False]


@pytest.mark.parametrize(
    ("said", "reused"),
    [
        (OK, True),
        (b"HTTP/1.1 204 None\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, True),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", False),
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", False),
        (OK + b"HTTP/1.1 2", False),
        (OK + b"garbage", False),
        (b"HTTP/1.1 204 None\r\nContent-Length: 2\r\n\r\nok", False),
    ],
)
async def test_a_connection_is_kept_only_if_nothing_is_left_on_it(said: bytes, reused: bool) -> None:
    connections = 0

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(said)
            await writer.drain()

    async with speaking(repeat) as url, open_sender() as sender:
        outcomes = [await sender.attempt(target(url), message()) for _ in range(3)]

    assert {outcome.response_status for outcome in outcomes} <= {200, 204, 500}
    assert "forged" not in {outcome.response_body for outcome in outcomes}
    assert connections == (1 if reused else 3)


async def test_a_repeated_response_and_a_different_one_are_both_read_as_they_are() -> None:
    gone = b"HTTP/1.1 410 Gone\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\ngone"
    said = [OK, OK, gone, gone, OK + b"HTTP/1.1 200 OK\r\n", OK, OK]
    connections = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while said:
            await read_request(reader)
            writer.write(said.pop(0))
            await writer.drain()

    async with speaking(speak) as url, open_sender() as sender:
        outcomes = [await sender.attempt(target(url), message()) for _ in range(7)]

    assert [outcome.response_status for outcome in outcomes] == [200, 200, 410, 410, 200, 200, 200]
    assert [outcome.cause for outcome in outcomes] == [None, None, "status", "status", None, None, None]
    assert [outcome.retry_after for outcome in outcomes[2:5]] == ["7", "7", None]
    assert outcomes[2].response_body == outcomes[3].response_body == "gone"
    assert outcomes[0].response_body == outcomes[1].response_body == outcomes[6].response_body
    # Surplus bytes after the fifth response ended its connection.
    assert connections == 2


async def test_an_unsolicited_response_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.http_client.connection_pool.IDLE_SECONDS_MAX", 60.0)
    answered, dropped = asyncio.Event(), asyncio.Event()

    async def whisper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await answered.wait()
        writer.write(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        dropped.set()

    async with speaking(whisper) as url, open_sender() as sender:
        first = await sender.attempt(target(url), message())
        answered.set()
        async with asyncio.timeout(SOON_SECONDS):
            await dropped.wait()
        second = await sender.attempt(target(url), message())

    assert (first.response_status, second.response_status) == (200, 200)


async def test_a_connection_is_not_kept_when_the_request_was_answered_before_it_was_read() -> None:
    connections = 0

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(60)

    async with speaking(hasty) as url, open_sender() as sender:
        outcomes = [await sender.attempt(target(url), message(b"x" * 64 * 1024 * 1024)) for _ in range(2)]

    assert [outcome.response_status for outcome in outcomes] == [413, 413]
    assert connections == 2


async def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.http_client.connection_pool.IDLE_SECONDS_MAX", 0.1)
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        assert await reader.read() == b""
        ended.set()

    async with speaking(answer) as url, open_sender() as sender:
        await sender.attempt(target(url), message())
        async with asyncio.timeout(SOON_SECONDS):
            await ended.wait()


async def test_idle_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.http_client.connection_pool.IDLE_MAX", 2)
    monkeypatch.setattr("webhooks.http_client.connection_pool.IDLE_SECONDS_MAX", 60.0)
    open_now = 0
    together = asyncio.Barrier(5)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            await read_request(reader)
            await together.wait()
            writer.write(OK)
            await reader.read()
        finally:
            open_now -= 1

    async with speaking(answer) as url, open_sender() as sender:
        outcomes = await asyncio.gather(*(sender.attempt(target(url), message()) for _ in range(5)))

        async def only_two() -> bool:
            return open_now == 2

        await eventually(only_two, seconds=SOON_SECONDS, what="all but two are closed")

    assert {outcome.cause for outcome in outcomes} == {None}


async def test_many_attempts_at_once_each_get_their_own_answer() -> None:
    async def echo(request: web.Request) -> web.Response:
        await asyncio.sleep(0.001 * (hash(request.headers["webhook-id"]) % 7))
        return web.Response(text=request.headers["webhook-id"])

    async with serving(echo) as url, open_sender(timeout_seconds=20) as sender:
        one = target(url)
        sent = [message() for _ in range(500)]
        outcomes = []
        for start in range(0, len(sent), 100):
            outcomes += await asyncio.gather(*(sender.attempt(one, each) for each in sent[start : start + 100]))

    assert [outcome.response_body for outcome in outcomes] == [each.webhook_id for each in sent]


# -- DNS -----------------------------------------------------------------------------------------------------------------


async def test_an_idle_connection_is_used_only_while_its_name_has_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.http_client.dns_cache.KEPT_SECONDS", 0.2)
    monkeypatch.setattr("webhooks.http_client.dns_cache.REFRESH_SECONDS", 0.2)
    connections: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer.get_extra_info("sockname")[0])
        while True:
            await read_request(reader)
            writer.write(OK)
            await writer.drain()

    leads_to = ["127.0.0.1"]

    async def look_up(host: str) -> Sequence[str]:
        return list(leads_to)

    async with speaking(answer, host="0.0.0.0") as url, open_sender(look_up=look_up) as sender:
        one = target(url.replace("0.0.0.0", "receiver.example.com"))
        causes = [(await sender.attempt(one, message())).cause for _ in range(2)]
        assert connections == ["127.0.0.1"]
        for moved_to in ("127.0.0.2", "10.0.0.1"):
            leads_to[:] = [moved_to]
            await asyncio.sleep(0.25)
            causes.append((await sender.attempt(one, message())).cause)

    assert causes == [None, None, None, "blocked"]
    assert connections == ["127.0.0.1", "127.0.0.2"]


async def test_a_name_is_looked_up_again_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.http_client.dns_cache.REFRESH_SECONDS", 0.1)
    asked = 0

    async def look_up(host: str) -> Sequence[str]:
        nonlocal asked
        asked += 1
        # So slow that a request that waited for it would be noticed.
        await asyncio.sleep(0 if asked == 1 else 0.3)
        return ["127.0.0.1"]

    async with speaking(saying(OK)) as url, open_sender(look_up=look_up) as sender:
        one = target(of_name(url))
        await sender.attempt(one, message())
        await asyncio.sleep(0.15)
        outcome = await sender.attempt(one, message())

    assert outcome.cause is None
    assert outcome.timings.dns_ms is None
    assert asked == 2


async def test_a_name_server_that_fails_is_not_asked_at_every_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.http_client.dns_cache.FAILURE_KEPT_SECONDS", 60.0)
    asked = 0

    async def fail(host: str) -> Sequence[str]:
        nonlocal asked
        asked += 1
        raise OSError("SERVFAIL")

    async with open_sender(look_up=fail) as sender:
        one = target("http://receiver.example.com")
        causes = [(await sender.attempt(one, message())).cause for _ in range(5)]

    assert (causes, asked) == (["dns"] * 5, 1)


async def test_an_address_that_does_not_answer_leaves_time_for_the_next() -> None:
    async with speaking(saying(OK)) as url:
        with socket.socket() as silent:
            # No other process uses this address, so the port is free there.
            port = int(url.rpartition(":")[2])
            silent.bind(("127.0.0.3", port))
            silent.listen(0)
            waiting = [socket.socket() for _ in range(8)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.3", port))
            try:
                outcome = await attempt(
                    of_name(url), look_up=names(["127.0.0.2", "127.0.0.3", "127.0.0.1"]), connect_timeout_seconds=4
                )
            finally:
                for one in waiting:
                    one.close()

    assert (outcome.cause, outcome.response_body) == (None, "ok")


async def test_an_endpoint_on_ipv6_is_reached() -> None:
    async with speaking(saying(OK), host="::1") as url:
        outcome = await attempt(url)

    assert (outcome.cause, outcome.response_body) == (None, "ok")


# -- TLS -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def accept(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def test_a_receiver_with_a_certificate_of_a_trusted_authority_is_reached_by_name(authority: Authority) -> None:
    asked_for: list[str | None] = []
    context = authority.server("receiver.example.com")
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)

    async with (
        serving(accept, tls=context) as url,
        open_sender(ca_file=authority.file, look_up=names(["127.0.0.1"])) as sender,
    ):
        outcomes = [
            await sender.attempt(target(of_name(url, host)), message()) for host in ("receiver.example.com",) * 3
        ]
        dotted = await sender.attempt(target(of_name(url, "receiver.example.com.")), message())

    assert [outcome.cause for outcome in (*outcomes, dotted)] == [None] * 4
    assert asked_for == ["receiver.example.com"] * 2
    assert outcomes[0].timings.tls_ms is not None
    assert outcomes[1].timings.tls_ms is None


async def test_a_certificate_for_an_address_serves_that_address(authority: Authority) -> None:
    async with serving(accept, tls=authority.server("127.0.0.1")) as url:
        assert (await attempt(url, ca_file=authority.file)).cause is None


async def test_an_invalid_certificate_is_a_tls_error(authority: Authority) -> None:
    received = 0

    async def count(_: web.Request) -> web.Response:
        nonlocal received
        received += 1
        return web.Response()

    good = authority.server("receiver.example.com")
    issued_by_itself = authority.server("receiver.example.com", own=True)
    unfit = authority.server("receiver.example.com", usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    with_issuer = authority.server("receiver.example.com", with_issuer=True)
    of_yesterday = authority.server("receiver.example.com", valid_hours=-1)
    of_tomorrow = authority.server("receiver.example.com", valid_hours=48, valid_in_hours=24)
    name, known = "receiver.example.com", authority.file
    cases: list[tuple[ssl.SSLContext, str, Path | None, CauseDetail]] = [
        (good, name, None, "unknown_issuer"),
        (with_issuer, name, None, "unknown_issuer"),
        (good, "other.example.com", known, "name_mismatch"),
        (good, "127.0.0.1", known, "name_mismatch"),
        (of_yesterday, name, known, "certificate_expired"),
        (of_tomorrow, name, known, "certificate_not_yet_valid"),
        (issued_by_itself, name, known, "self_signed"),
        (unfit, name, known, "certificate_refused"),
    ]
    for context, host, ca_file, detail in cases:
        async with serving(count, tls=context) as url:
            outcome = await attempt(of_name(url, host), ca_file=ca_file, look_up=names(["127.0.0.1"]))
        assert (outcome.cause, outcome.cause_detail) == ("tls", detail)

    assert received == 0


async def test_a_receiver_of_an_older_protocol_is_told_from_one_that_breaks_off(authority: Authority) -> None:
    old, other_ciphers = (authority.server("127.0.0.1") for _ in range(2))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    other_ciphers.maximum_version = ssl.TLSVersion.TLSv1_2
    other_ciphers.set_ciphers("AES128-SHA")
    outcomes = []

    # A server on a blocking socket says goodbye with an alert, as OpenSSL does by itself; asyncio's only hangs up.
    for context in (old, other_ciphers):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            refusing = asyncio.create_task(asyncio.to_thread(refuse_tls, listening, context))
            outcomes.append(await attempt(f"https://127.0.0.1:{listening.getsockname()[1]}", ca_file=authority.file))
            await refusing

    assert [outcome.cause_detail for outcome in outcomes] == ["no_common_version", "handshake_failed"]


def refuse_tls(listening: socket.socket, context: ssl.SSLContext) -> None:
    accepted, _ = listening.accept()
    with accepted, pytest.raises(ssl.SSLError):
        context.wrap_socket(accepted, server_side=True)


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail.example.com ESMTP\r\n", b"\x00" * 64])
async def test_a_server_without_tls_is_a_tls_error(says: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(says)
        await writer.drain()

    async with speaking(talk) as url:
        outcome = await attempt(url.replace("http:", "https:"))

    assert (outcome.cause, outcome.cause_detail) == ("tls", "no_tls")


async def test_a_server_that_hangs_up_during_the_handshake_is_a_tls_error() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        reset_connection(writer)

    async with speaking(hang_up) as url:
        outcome = await attempt(url.replace("http:", "https:"))

    assert (outcome.cause, outcome.cause_detail) == ("tls", "handshake_failed")


# -- the end -------------------------------------------------------------------------------------------------------------


async def test_an_outcome_comes_once_and_never_before_send_returns() -> None:
    async with speaking(saying(OK)) as url, open_sender() as sender:
        outcomes: list[Outcome] = []
        all_answered = asyncio.Event()

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            if len(outcomes) == 3:
                all_answered.set()

        sender.send(target(url), message(), done)
        sender.send(target("http://10.0.0.1"), message(), done)
        sender.send(DeliveryTarget(uuid4(), 1, url, (), ()), message(), done)
        assert outcomes == []
        await all_answered.wait()
        await asyncio.sleep(0.05)

    assert {outcome.cause for outcome in outcomes} == {None, "blocked", "secret_unreadable"}
    assert len(outcomes) == 3


async def test_a_callback_that_raises_affects_no_other_attempt() -> None:
    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    def drop(_: Outcome) -> None:
        raise ZeroDivisionError

    async with speaking(repeat) as url, open_sender() as sender:
        sender.send(target(url), message(), drop)
        assert [(await sender.attempt(target(url), message())).cause for _ in range(2)] == [None, None]


async def test_closing_aborts_attempts_in_flight_without_an_outcome() -> None:
    arrived, left = asyncio.Event(), asyncio.Event()

    async def think(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await reader.read()
        left.set()

    async def ponder(host: str) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    async with speaking(think) as url, open_sender(look_up=ponder) as sender:
        outcomes: list[Outcome] = []
        sender.send(target(url), message(), outcomes.append)
        sender.send(target("http://slow.example.com"), message(), outcomes.append)
        waiting = asyncio.ensure_future(sender.attempt(target(url), message()))
        await arrived.wait()
        await sender.close()
        await left.wait()

    assert outcomes == []
    assert waiting.cancelled()
    with pytest.raises(RuntimeError):
        sender.send(target(url), message(), outcomes.append)


async def test_a_process_without_free_files_closes_idle_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket
    refusals = 1

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    class Scarce(real):  # type: ignore[valid-type,misc]
        """Fails once, as the operating system does at its limit of open files."""

        def __init__(self, *arguments: Any, **more: Any):
            nonlocal refusals
            if refusals > 0 and not arguments[3:] and "fileno" not in more:
                refusals -= 1
                raise OSError(24, "Too many open files")
            super().__init__(*arguments, **more)

    async with speaking(repeat) as first, speaking(repeat) as second, open_sender() as sender:
        await sender.attempt(target(first), message())
        monkeypatch.setattr("webhooks.http_client.egress_guard.socket.socket", Scarce)
        outcome = await sender.attempt(target(second), message())

    assert (outcome.cause, refusals) == (None, 0)
