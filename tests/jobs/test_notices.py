"""Live notices: what changes is told at once, to those who may see it and to nobody else, and costs a creation no statement."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise

import httpx
import pytest
from sqlalchemy import event as sqlalchemy_events

from shared.api.exports import RunningExports
from shared.errors import TooManyRequests, Unavailable
from shared.live.announcer import NAMES_MAX, SPACING_SECONDS
from tests.harness.bodies import smallest_job
from tests.harness.client import refused
from tests.harness.event_streams import opened, over_http
from tests.harness.job_files import imported, lines
from tests.harness.jobs import Jobs, Tenant

NOTICES = "/v1/job-notices"
EVERYTHING = ("changed", {"object": "notice", "names": [], "everything": True})


@pytest.fixture(scope="module")
async def client(service: Jobs) -> AsyncIterator[httpx.AsyncClient]:
    async with over_http(service.app) as client:
        yield client


async def test_what_is_created_is_told_within_half_a_second(client: httpx.AsyncClient, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    async with opened(client, tenant.owner, NOTICES) as stream:
        assert await stream.next_event() == EVERYTHING

        job = await merchant.api.create_job()
        answered_at = datetime.now(UTC)
        told = await stream.next_event()

        assert told == ("changed", {"object": "notice", "names": [f"jobs/{job['id']}"], "everything": False})
        # Generous: other tests share the machine. What is promised beside an idle one is 500 ms.
        assert (datetime.now(UTC) - answered_at).total_seconds() < 5
        await tenant.owner.create(f"/v1/jobs/{job['id']}/start")
        assert await stream.names(1) == [f"jobs/{job['id']}"]


async def test_each_hears_of_what_it_may_see(client: httpx.AsyncClient, service: Jobs, tenant: Tenant) -> None:
    one, other = await tenant.create_merchant(), await tenant.create_merchant()
    foreign = await (await service.create_tenant()).create_merchant()
    async with opened(client, one.api, NOTICES) as of_one, opened(client, tenant.owner, NOTICES) as of_owner:
        assert await of_one.next_event() == await of_owner.next_event() == EVERYTHING

        await foreign.api.create_job()
        hidden = await other.api.create_job()
        mine = await one.api.create_job()
        done = await imported(other.api, lines([smallest_job(), {}]))
        last = await one.api.create_job()

        assert set(await of_one.names(2)) == {f"jobs/{mine['id']}", f"jobs/{last['id']}"}
        heard = await of_owner.names(5)
        assert {f"jobs/{hidden['id']}", f"jobs/{mine['id']}", f"job-imports/{done['id']}"} <= set(heard)
        found = await tenant.owner.read("/v1/jobs", params={"limit": 200})
        assert {name for name in heard if name.startswith("jobs/")} == {f"jobs/{job['id']}" for job in found["data"]}


async def test_many_changes_become_the_name_of_their_collection(client: httpx.AsyncClient, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    async with opened(client, tenant.owner, NOTICES) as stream:
        await stream.next_event()

        body = {"items": [smallest_job() for _ in range(NAMES_MAX + 20)]}
        answer = await merchant.api.post("/v1/jobs/bulk", body)

        assert answer.status_code == 207
        assert await stream.next_event() == ("changed", {"object": "notice", "names": ["jobs"], "everything": False})


async def test_a_stream_ends_with_its_callers_access(client: httpx.AsyncClient, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    async with opened(client, merchant.api, NOTICES) as stream:
        await stream.next_event()

        await merchant.update(api_access=False)

        with pytest.raises(StopAsyncIteration):
            await stream.next_event()
    answer = await client.get(NOTICES, headers={**merchant.api.headers, "Accept": "text/event-stream"})
    assert answer.status_code in (401, 403)


async def test_a_stream_must_be_asked_for(tenant: Tenant) -> None:
    refused(await tenant.owner.get(NOTICES), 400, "event_stream_only")


def test_streams_have_a_bound_per_tenant_and_for_all() -> None:
    running = RunningExports(at_once_max=2, per_tenant_max=1, streams=True)
    ended = running.begin("ten_1")

    with pytest.raises(TooManyRequests) as of_tenant:
        running.begin("ten_1")
    running.begin("ten_2")
    with pytest.raises(Unavailable) as of_all:
        running.begin("ten_3")

    assert (of_tenant.value.problem_code, of_all.value.problem_code) == ("streams_running", "streams_busy")
    ended()
    running.begin("ten_1")


async def test_notices_cost_a_creation_no_statement(client: httpx.AsyncClient, service: Jobs, tenant: Tenant) -> None:
    """However many are created, NOTIFY comes at most so often, and outside their transactions."""
    merchant = await tenant.create_merchant()
    edge = service.app.state.edge
    notified: list[float] = []

    def count(*arguments: object) -> None:
        if "pg_notify(" in str(arguments[2]):
            notified.append(asyncio.get_running_loop().time())

    sqlalchemy_events.listen(edge.database.engine.sync_engine, "before_cursor_execute", count)
    try:
        async with opened(client, tenant.owner, NOTICES) as stream:
            await stream.next_event()
            await asyncio.gather(*(merchant.api.create_job() for _ in range(40)))
            await stream.names(1)
    finally:
        sqlalchemy_events.remove(edge.database.engine.sync_engine, "before_cursor_execute", count)

    between = [later - earlier for earlier, later in pairwise(notified)]
    assert notified
    assert all(seconds >= SPACING_SECONDS * 0.9 for seconds in between)
