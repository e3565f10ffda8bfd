"""Lists page by page: complete, stable while rows are created, and cursors that are valid for their own list only."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from shared.events.jobs import ContactState
from tests.harness.bodies import smallest_job
from tests.harness.bulk_data import copy_job
from tests.harness.client import Api
from tests.harness.jobs import Jobs, Tenant
from tests.harness.people import Merchant

MANY = 1_800
BUSY = 1_100
"""Jobs of the last day; before it there is about one job per day."""
SORTS = ("created_at", "-created_at", "updated_at", "-updated_at", "scheduled_date", "-scheduled_date")
LAST_DAY = "9999-12-31"

CONDITIONS: tuple[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]], ...] = (
    ({}, lambda job: True),
    ({"status": ["new"]}, lambda job: True),
    ({"tag": ["many"]}, lambda job: True),
    ({"tag": ["rare"]}, lambda job: "rare" in job["tags"]),
    ({"tag": ["none"]}, lambda job: False),
    ({"q": "rare"}, lambda job: False),
    ({"q": "lovel byron"}, lambda job: job["contact"]["last_name"] == "Lovelace-Byron"),
    ({"contact_name": "ada lovelace-b"}, lambda job: job["contact"]["last_name"] == "Lovelace-Byron"),
    ({"type": ["delivery", "pickup"], "tag": ["rare"]}, lambda job: "rare" in job["tags"]),
    ({"tag": ["many"], "created_gte": "2026-01-01T00:00:00Z"}, lambda job: job["created_at"] >= "2026-01-01"),
    ({"tag": ["many"], "created_lte": "2026-01-01T00:00:00Z"}, lambda job: job["created_at"] < "2026-01-01"),
    (
        {"tag": ["rare"], "scheduled_date_gte": "2030-03-01"},
        lambda job: "rare" in job["tags"] and _dated(job, "2030-03"),
    ),
    ({"tag": ["many"], "scheduled_date_lte": "2030-02-01"}, lambda job: (job["scheduled_date"] or "x") <= "2030-02-01"),
    (
        {"scheduled_date_gte": "2030-01-20", "scheduled_date_lte": "2030-01-21"},
        lambda job: job["scheduled_date"] in ("2030-01-20", "2030-01-21"),
    ),
)


def _dated(job: dict[str, Any], since: str) -> bool:
    return since <= (job["scheduled_date"] or "") < LAST_DAY


def varied(number: int, created_at: datetime) -> dict[str, Any]:
    """The fields in which copies differ: some instants and many days repeat, some jobs have no date."""
    minutes = number - number % 5 if number < BUSY else 60 * 24 * (number - BUSY + 1)
    on = date(2030, 1, 1) + timedelta(days=number % 70 if number < BUSY else number)
    name = "Lovelace-Byron" if number % 300 == 299 else "Lovelace"
    return {
        "created_at": created_at - timedelta(minutes=minutes),
        "updated_at": created_at + timedelta(seconds=number * 7919 % 1000),
        "scheduled_date": date.max if number == MANY - 1 else None if number % 3 == 0 else on,
        "tags": ["many", *(["rare"] if number % 400 == 399 else [])],
        "contact": ContactState(first_name="Ada", last_name=name),
    }


async def copied(service: Jobs, merchant: Merchant, count: int) -> None:
    """Create one job of this merchant and `count` copies."""
    original = smallest_job(
        tags=["many"], contact={"first_name": "Ada", "last_name": "Lovelace"}, actions=[{"sku": "S-1"}]
    )
    await copy_job(service, merchant, original, count, varied)


@pytest.fixture(scope="module")
async def tenant_of_many(service: Jobs) -> tuple[Api, Api]:
    """A merchant with many jobs of one action, and the owner of its tenant. Another merchant has half as many jobs without tags."""
    tenant = await service.create_tenant()
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    await copied(service, merchant, MANY)
    await copy_job(
        service,
        other,
        smallest_job(actions=[{}]),
        MANY // 2,
        lambda number, at: {"created_at": at - timedelta(hours=number)},
    )
    return merchant.api, await tenant.create_user("owner")


@pytest.fixture(scope="module")
def shop(tenant_of_many: tuple[Api, Api]) -> Api:
    """The caller of the merchant."""
    return tenant_of_many[0]


@pytest.fixture(scope="module")
async def everything(shop: Api) -> list[dict[str, Any]]:
    """All jobs of the merchant, from the list without conditions."""
    jobs: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await shop.read("/v1/jobs", params={"limit": 200, **cursor})
        jobs += page["data"]
        if not page["has_more"]:
            return jobs
        cursor = {"cursor": page["next_cursor"]}


def in_order(jobs: Iterable[dict[str, Any]], sort: str) -> list[str]:
    """Their ids in the order of this list."""
    name = sort.removeprefix("-")

    def place(job: dict[str, Any]) -> tuple[str, ...]:
        # Jobs of one day are in the order of creation.
        among = (job["created_at"],) if name == "scheduled_date" else ()
        return (job[name] or LAST_DAY, *among, job["id"])

    ordered = sorted(jobs, key=place, reverse=sort.startswith("-"))
    return [job["id"] for job in ordered]


async def test_a_list_of_jobs_is_complete(shop: Api, everything: list[dict[str, Any]]) -> None:
    assert len(everything) == len({job["id"] for job in everything}) == MANY + 1
    for sort in SORTS:
        assert await shop.listed(limit=190, sort=sort) == in_order(everything, sort)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(("conditions", "matches"), CONDITIONS)
async def test_all_matches_are_found_in_order(
    tenant_of_many: tuple[Api, Api],
    everything: list[dict[str, Any]],
    sort: str,
    conditions: dict[str, Any],
    matches: Callable[[dict[str, Any]], bool],
) -> None:
    merchant, owner = tenant_of_many
    expected = in_order(filter(matches, everything), sort)
    everywhere = {"tag", "contact_name", "q"} & conditions.keys()

    assert await merchant.searched(sort=sort, **conditions) == expected
    if everywhere:
        assert await owner.searched(sort=sort, **conditions) == expected
    if len(expected) < MANY // 2:
        assert await owner.searched(sort=sort, merchant_id=everything[0]["merchant_id"], **conditions) == expected
    if len(expected) < 20:
        assert (
            await owner.searched(sort=sort, limit=3, merchant_id=everything[0]["merchant_id"], **conditions) == expected
        )


@pytest.mark.parametrize("sort", SORTS[:4])
async def test_a_list_of_actions_is_complete(shop: Api, sort: str) -> None:
    ids = await shop.listed("/v1/actions", sort=sort, limit=190)

    assert len(set(ids)) == len(ids) == MANY + 1
    assert await shop.searched("/v1/actions/search", sort=sort, sku="S-1") == ids


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "scheduled_date", "-scheduled_date"])
async def test_while_jobs_are_being_created_each_earlier_one_is_shown_once(
    service: Jobs, tenant: Tenant, sort: str
) -> None:
    merchant = await tenant.create_merchant()
    await copied(service, merchant, 60)
    before = set(await merchant.api.listed())
    done = asyncio.Event()

    async def create() -> int:
        made = 0
        while not done.is_set():
            await merchant.api.create_job(smallest_job(tags=["many"], scheduled_date=f"2030-01-{1 + made % 28:02d}"))
            made += 1
        return made

    creating = asyncio.create_task(create())
    try:
        seen: list[str] = []
        asked: dict[str, Any] = {"limit": 5, "sort": sort, "tag": ["many"]}
        # Oldest first, the list grows at its end; all earlier jobs are read before that.
        while before - set(seen):
            page = (await merchant.api.post("/v1/jobs/search", asked)).json()
            seen += [job["id"] for job in page["data"]]
            asked["cursor"] = page["next_cursor"]
    finally:
        done.set()

    assert await creating > 0
    assert len(seen) == len(set(seen))


async def test_a_cursor_is_valid_only_for_its_conditions_order_and_caller(service: Jobs, tenant: Tenant) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    for one in (merchant, other):
        await copied(service, one, 3)
    owner, test_owner = await tenant.create_user("owner"), await tenant.create_user("owner", livemode=False)
    body: dict[str, Any] = {"limit": 1, "tag": ["many"], "metadata": {}, "sort": "-created_at"}
    cursor = (await merchant.api.post("/v1/jobs/search", body)).json()["next_cursor"]

    async def ask(api: Api, **changes: Any) -> tuple[int, str]:
        answer = await api.post("/v1/jobs/search", {**body, "cursor": cursor, **changes})
        return answer.status_code, answer.json().get("code", "")

    differ = (400, "cursor_filters_differ")
    assert await ask(merchant.api) == (200, "")
    assert await ask(merchant.api, limit=2) == (200, "")
    assert await ask(await merchant.session()) == (200, "")
    assert await ask(merchant.api, sort="created_at") == differ
    assert await ask(merchant.api, sort="-updated_at") == differ
    assert await ask(merchant.api, tag=["many", "more"]) == differ
    assert await ask(merchant.api, metadata={"shop": "7"}) == differ
    assert await ask(merchant.api, deleted=True) == differ
    for api in (other.api, owner, test_owner):
        assert await ask(api) == differ
    assert await ask(merchant.api, cursor="A" * 40) == (400, "cursor_invalid")
    # A list and a search have different cursors.
    listed = await merchant.api.get("/v1/jobs", params={"limit": 1, "tag": "many", "cursor": cursor})
    assert (listed.status_code, listed.json()["code"]) == differ
    actions = await merchant.api.post("/v1/actions/search", {"limit": 1, "cursor": cursor})
    assert (actions.status_code, actions.json()["code"]) == differ


async def test_settings_of_searches_do_not_reach_other_connections(service: Jobs, shop: Api) -> None:
    database = service.app.state.edge.database
    settings = text("SELECT current_setting('plan_cache_mode'), current_setting('enable_bitmapscan')")

    async def of_one_connection(all_taken: asyncio.Barrier) -> tuple[str, str]:
        async with database.reading() as session:
            cached, looks_up = (await session.execute(settings)).one()
            await all_taken.wait()
            return cached, looks_up

    for attempt in range(24):
        search = asyncio.create_task(shop.post("/v1/jobs/search", {"tag": ["rare"], "limit": 200}))
        await asyncio.sleep(0.001 * attempt)
        search.cancel()
        await asyncio.gather(search, return_exceptions=True)
    assert (await shop.post("/v1/jobs/search", {"tag": ["rare"], "cursor": "x"})).status_code == 400
    assert (await shop.post("/v1/jobs/search", {"tag": ["rare"]})).status_code == 200

    taken = asyncio.Barrier(service.settings.database_pool_size // 2)
    left = await asyncio.gather(*(of_one_connection(taken) for _ in range(taken.parties)))
    assert set(left) == {("auto", "on")}


async def test_a_search_ignores_an_idempotency_key(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    job = await merchant.api.create_job()

    for _ in range(2):
        answer = await merchant.api.post("/v1/jobs/search", {}, headers={"Idempotency-Key": "search-1"})
        assert answer.json()["data"] == [job]
        assert "Idempotency-Replayed" not in answer.headers
    assert (await merchant.api.post("/v1/jobs/search", {"status": ["cancelled"]})).json()["data"] == []
