"""A service that is away, silent or broken: pages say which part is missing, and work otherwise."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest
from aiohttp import web

from console.gateway import Api, Gateway, Origin
from console.sessions import BrowserSession
from console.standings import FRESH_SECONDS, KEPT_SECONDS, PERMISSIONS, TENANT, UNKNOWN, Standing, Standings
from deploy.devstack.forks import Forker
from tests.harness.console import ConsoleStack, Stock, Visitor, text_of
from tests.harness.servers import serving
from tests.harness.stack import BackingStack
from tests.harness.suite import SERVICES, Suite
from tests.harness.valve import Valve, Way, valve

GATEWAY_SECONDS = 3
"""Shorter than it is by default, and long enough for what answers on a busy machine."""
PAGES = {"identity": "/locations", "billing": "/billing", "jobs": "/jobs", "webhooks": "/deliveries"}
"""A page that a service cannot be left out of."""
WAYS: tuple[Way, ...] = ("closed", "broken")


@pytest.fixture(scope="module")
async def valves(suite: Suite) -> AsyncIterator[Mapping[str, Valve]]:
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(valve(suite.urls[name])) for name in SERVICES}


@pytest.fixture(scope="module")
async def behind(
    suite: Suite,
    backing: BackingStack,
    forker: Forker | None,
    valves: Mapping[str, Valve],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ConsoleStack]:
    """A console that reaches every service through its valve."""
    environment = {f"CONSOLE_{name.upper()}_URL": valves[name].url for name in SERVICES}
    environment["CONSOLE_GATEWAY_SECONDS"] = str(GATEWAY_SECONDS)
    home = tmp_path_factory.mktemp("console")
    running = await asyncio.to_thread(ConsoleStack, suite, backing, home, forker, environment)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="module")
async def owner(behind: ConsoleStack, stock: Stock) -> Visitor:
    visitor = await behind.signed_in(stock.tenant.id, stock.tenant.owner_email)
    assert (await visitor.get("/")).status_code == 200
    return visitor


@asynccontextmanager
async def turned(one: Valve, way: Way) -> AsyncIterator[None]:
    await one.turn(way)
    yield
    await one.turn("open")


def says_away(answer: httpx.Response, service: str) -> bool:
    return f"The service “{service}” does not answer right now." in text_of(answer)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("service", SERVICES)
async def test_without_a_service_its_part_is_missing_and_the_rest_is_there(
    valves: Mapping[str, Valve], owner: Visitor, service: str, way: Way
) -> None:
    async with turned(valves[service], way):
        home, own, *others = await asyncio.gather(
            *(owner.get(path) for path in ("/", PAGES[service], *(PAGES[one] for one in SERVICES if one != service)))
        )

    assert home.status_code == 200
    assert says_away(home, service)
    assert own.status_code == 503
    assert says_away(own, service)
    assert "Request id" in text_of(own)
    assert [answer.status_code for answer in others] == [200] * 3
    for answer in (home, own, *others):
        assert 'href="/settings/company"' in answer.text, "the menu is there"


async def test_a_silent_service_is_waited_for_as_long_as_is_set_and_no_longer(
    valves: Mapping[str, Valve], owner: Visitor, stock: Stock
) -> None:
    async with turned(valves["webhooks"], "silent"):
        home, job, own = await asyncio.gather(
            *(owner.get(one) for one in ("/", stock.fill("/jobs/{job_id}"), "/webhooks"))
        )

    assert (home.status_code, job.status_code, own.status_code) == (200, 200, 503)
    assert all(says_away(answer, "webhooks") for answer in (home, job, own))


async def test_what_identity_said_last_counts_for_a_quarter_of_an_hour_however_often_it_is_asked() -> None:
    is_away, now = False, 0.0

    async def identity(request: web.Request) -> web.Response:
        if is_away:
            return web.Response(status=500)
        return web.json_response({"scopes": ["orders"]} if request.path == "/v1/permissions" else {"name": "Ada"})

    async with serving(identity) as url:
        gateway, standings = Gateway({"identity": url}, seconds=GATEWAY_SECONDS), Standings(lambda: now)
        session = BrowserSession("cookie", {"tenant_id": "ten_1"}, "token", datetime.max.replace(tzinfo=UTC), None)

        async def find() -> Standing:
            api = Api(gateway, Origin("127.0.0.1", "", "req_1"), token="token", declared={PERMISSIONS, TENANT})
            return await standings.find(api, session)

        answered, is_away = await find(), True
        while (now := now + 60.0) < KEPT_SECONDS:
            assert await find() == answered
        at_its_end, is_away = await find(), False
        now += FRESH_SECONDS
        again = await find()
        await gateway.close()

    assert answered.holds("orders")
    assert at_its_end == UNKNOWN
    assert again == answered


async def test_a_form_whose_service_is_away_keeps_what_was_entered_and_says_what_is_known(
    valves: Mapping[str, Valve], owner: Visitor
) -> None:
    page = "/locations/new"
    token = (await owner.get(page)).text.partition('name="form_token" value="')[2].partition('"')[0]
    fields = {"/name": "Kept", "/timezone": "America/Toronto", "form_token": token}

    answers = {}
    for way in ("closed", "silent"):
        async with turned(valves["identity"], way):
            answers[way] = await owner.client.post(page, data=fields)

    assert all('value="Kept"' in answer.text for answer in answers.values())
    assert "Nothing was saved" in text_of(answers["closed"])
    assert "this may have been saved or not" in text_of(answers["silent"])
