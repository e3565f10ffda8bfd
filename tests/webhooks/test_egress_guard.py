"""The egress guard: all known tricks to make a server call itself or its neighbours are refused when connecting.

The addresses do not pass through the rules for URLs on purpose: this tests the last line of defence alone. Audit events of the interpreter
prove that no connection was even tried.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import pytest
from aiohttp import web

from shared.chassis.networks import parse_networks
from tests.harness.http_harness import OK, attempt, message, names, of_name, open_sender, target
from tests.harness.servers import read_request, serving, speaking
from webhooks.http_client import rules

# Each URL has one of these paths, which makes no difference.
PUBLIC = "8.8.8.8"

# Notations of addresses that are not public, as in a URL.
SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "0",
    "0.0.0.0",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.0x0.0.1",
    "00000177.00000000.00000000.00000001",
    "127.000.000.001",
    "1.0.0.127.0x7f000001",
    "4294967295",
    "6425673729",
    "10.0.0.1",
    "012.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "169.16689662",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:10.0.0.1]",
    "[::ffff:8.8.8.8]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[100::1]",
    "[2001:0:7f00:1::]",
    "[2001:db8::1]",
    "[2001:470:1:2:0:5efe:127.0.0.1]",
    "[2001:470:1:2:200:5efe:a00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[::1%25lo]",
    "[fec0::1]",
    "[ff02::1]",
    "[v1.127.0.0.1]",
    "localhost",
    "localhost.",
    "LocalHost",
    "localhost.localdomain",
    "anything.localhost",
]

# Names and URLs that parsers read differently, or not at all.
DISGUISES = [
    f"http://{PUBLIC}@127.0.0.1/",
    f"http://127.0.0.1@{PUBLIC}/",
    "http://user:password@localhost/",
    f"http://127.0.0.1\\@{PUBLIC}/",
    f"http://{PUBLIC}\\@127.0.0.1/",
    f"http://127.0.0.1#@{PUBLIC}/",
    f"http://{PUBLIC}#@127.0.0.1/",
    "http://127.0.0.1%2f@receiver.example.com/",
    "http://127%2e0%2e0%2e1/",
    "http://%6c%6f%63%61%6c%68%6f%73%74/",
    "http://127\uff0e0\uff0e0\uff0e1/",
    "http://127\u30020\u30020\u30021/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
    "http://loc\u00adalhost/",
    "http://localho\u017ft/",
    "http://\u202etsohlacol/",
    "http://127.0.0.1\t/",
    "http://127.0.0.1 /",
    "http:// 127.0.0.1/",
    "http://127.0.0.1\r\nHost: other/",
    "http://receiver.example.com/\r\nX-Injected: yes",
    "http://receiver.example.com\x00.127.0.0.1/",
    "http://[::1]receiver.example.com/",
    "http://[127.0.0.1]/",
    "http://::1/",
    "http://[::1/",
    "http://receiver.example.com:80:80/",
    "http://receiver.example.com:99999/",
    "http://receiver.example.com:-1/",
    "http://receiver.example.com:0/",
    "http://receiver.example.com:8\uff10/",
    "http:///127.0.0.1/",
    "http:127.0.0.1/",
    "http:/127.0.0.1/",
    "//127.0.0.1/",
    "127.0.0.1",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp://receiver.example.com/",
    "unix:///var/run/docker.sock",
    "dict://127.0.0.1:11211/stats",
    "javascript:alert(1)",
    "",
    "http://",
    "http://" + "a" * 64 + ".example.com/",
    "http://" + "a." * 127 + "com/",
    "http://receiver.example.com/" + "a" * 3000,
    "http://receiver.1/",
    "http://receiver.0x7f/",
]

# Addresses that a name server may return, with an allowed port.
ANSWERS = [
    ["127.0.0.1"],
    ["::1"],
    ["0.0.0.0"],
    ["10.0.0.1"],
    ["169.254.169.254"],
    ["::ffff:127.0.0.1"],
    ["64:ff9b::a9fe:a9fe"],
    ["fe80::1%lo"],
    ["fd00:ec2::254"],
    ["8.8.8.8", "10.0.0.1"],
    ["10.0.0.1", "8.8.8.8"],
    ["2606:4700::1111", "::1"],
    ["8.8.8.8"] * 3 + ["127.0.0.1"],
    [f"8.8.8.{number}" for number in range(65)],
    ["127.1"],
    ["2130706433"],
    ["localhost"],
    ["receiver.example.com"],
    [""],
    ["8.8.8.8\x00"],
]

PORTS = [0, 1, 22, 23, 25, 53, 110, 143, 445, 587, 2375, 3306, 5432, 5672, 6379, 9042, 9092, 10250, 11211, 27017, 65536]


class Watch:
    """The addresses to which this process tries to connect while it is switched on."""

    def __init__(self) -> None:
        self.on = False
        self.connected: list[Any] = []
        self.asked: list[Any] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in ("socket.connect", "socket.getaddrinfo") or not _is_sending():
            return
        if event == "socket.connect":
            self.connected.append(arguments[1])
        else:
            self.asked.append(arguments[0])


def _is_sending() -> bool:
    frame: FrameType | None = sys._getframe()
    while frame is not None and not frame.f_globals.get("__name__", "").startswith("webhooks.http_client."):
        frame = frame.f_back
    return frame is not None


# An audit hook cannot be removed, so there is one that is switched on and off.
_WATCH = Watch()
sys.addaudithook(_WATCH)


@pytest.fixture
def watch() -> Iterator[Watch]:
    _WATCH.connected, _WATCH.asked, _WATCH.on = [], [], True
    yield _WATCH
    _WATCH.on = False


def test_the_table_is_long_enough() -> None:
    assert len(set(SPELLINGS)) + len(set(DISGUISES)) >= 60


async def test_the_watch_sees_a_connection(watch: Watch) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    async with serving(answer) as url:
        outcome = await attempt(url.replace("127.0.0.1", "localhost"))

    assert outcome.cause is None
    assert [address[0] for address in watch.connected][-1] in ("127.0.0.1", "::1")
    assert watch.asked == [b"localhost"]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_an_address_that_is_not_public_is_connected_to(host: str, watch: Watch) -> None:
    for scheme in ("http", "https"):
        outcome = await attempt(f"{scheme}://{host}/hook", allowed_networks=())
        assert outcome.cause == "blocked"

    assert watch.connected == []
    assert watch.asked == []


@pytest.mark.parametrize("url", DISGUISES)
async def test_no_url_that_can_be_misread_is_connected_to(url: str, watch: Watch) -> None:
    look_up = names([PUBLIC])
    outcome = await attempt(url, allowed_networks=(), look_up=look_up)

    assert outcome.cause == "blocked"
    assert watch.connected == []
    assert list(rules.url_violations(url, allow_http=True, allowed=())) != []


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: ",".join(answer)[:40])
async def test_no_name_with_such_an_address_is_connected_to(answer: Sequence[str], watch: Watch) -> None:
    outcome = await attempt("https://receiver.example.com/", allowed_networks=(), look_up=names(answer))

    assert outcome.cause == "blocked"
    assert watch.connected == []


@pytest.mark.parametrize("port", PORTS)
async def test_no_blocked_port_is_connected_to_even_in_an_allowed_network(port: int, watch: Watch) -> None:
    everything = parse_networks("0.0.0.0/0, ::/0")
    for host in ("127.0.0.1", "[::1]", PUBLIC, "receiver.example.com"):
        outcome = await attempt(f"http://{host}:{port}/", allowed_networks=everything, look_up=names([PUBLIC]))
        assert outcome.cause == "blocked"

    assert watch.connected == []


@pytest.mark.parametrize(
    ("allowed", "host", "cause"),
    [
        ("127.0.0.0/8", "127.0.0.1", None),
        ("127.0.0.1/32", "127.0.0.1", None),
        ("127.0.0.2/32", "127.0.0.1", "blocked"),
        ("::1/128", "127.0.0.1", "blocked"),
        ("127.0.0.0/8", "[::ffff:127.0.0.1]", "blocked"),
        ("127.0.0.0/8", "127.1", "blocked"),
        ("127.0.0.0/8", "0.0.0.0", "blocked"),
        ("10.0.0.0/8", "127.0.0.1", "blocked"),
    ],
)
async def test_an_allowed_network_opens_itself_and_nothing_else(allowed: str, host: str, cause: str | None) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)

    async with speaking(answer) as url:
        outcome = await attempt(url.replace("127.0.0.1", host), allowed_networks=parse_networks(allowed))

    assert outcome.cause == cause


async def test_a_redirect_to_this_machine_is_not_followed(watch: Watch) -> None:
    paths: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=302, headers={"Location": f"http://127.0.0.1:{request.url.port}/secret"})

    async with serving(redirect) as url:
        outcome = await attempt(f"{url}/hook")

    assert (outcome.cause, outcome.response_status, paths) == ("status", 302, ["/hook"])
    assert len(watch.connected) == 1


async def test_a_name_that_is_rebound_between_check_and_connection_finds_no_gap(watch: Watch) -> None:
    # One look-up serves both, so the second answer is never requested.
    async with speaking(answering_once) as url:
        look_up = names(["127.0.0.1"], ["127.0.0.9"])
        outcome = await attempt(of_name(url), look_up=look_up)

    assert outcome.cause is None
    assert [address[0] for address in watch.connected] == ["127.0.0.1"]


async def test_an_idle_connection_is_not_used_after_its_name_gets_a_forbidden_address(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.http_client.dns_cache.KEPT_SECONDS", 0.1)
    monkeypatch.setattr("webhooks.http_client.dns_cache.REFRESH_SECONDS", 0.1)

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    async with speaking(repeat) as url, open_sender(look_up=names(["127.0.0.1"], ["169.254.169.254"])) as sender:
        first = await sender.attempt(target(of_name(url)), message())
        await asyncio.sleep(0.15)
        second = await sender.attempt(target(of_name(url)), message())

    assert (first.cause, second.cause) == (None, "blocked")
    assert len(watch.connected) == 1


async def test_a_name_with_a_forbidden_address_is_dropped_by_the_early_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.http_client.dns_cache.REFRESH_SECONDS", 0.05)

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(OK)

    async with speaking(repeat) as url, open_sender(look_up=names(["127.0.0.1"], ["10.0.0.1"])) as sender:
        one = target(of_name(url))
        first = await sender.attempt(one, message())
        await asyncio.sleep(0.1)
        # This request uses the former addresses and starts the look-up that finds the new one.
        await sender.attempt(one, message())
        await asyncio.sleep(0.05)
        third = await sender.attempt(one, message())

    assert (first.cause, third.cause) == (None, "blocked")


async def answering_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(OK)
