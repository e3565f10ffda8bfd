"""The endpoint cache: the fan-out never uses stale endpoints, and changes of other processes are known within a second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from sqlalchemy import text

from shared.ids import to_uuid
from tests.harness.receiver import Receiver
from tests.harness.servers import serving
from tests.harness.waiting import eventually
from tests.harness.webhooks import DeliveryHarness, job_created
from webhooks.endpoints import cache as cache_module
from webhooks.endpoints.cache import EndpointCache
from webhooks.endpoints.rules import Matcher, Subscription

MONTREAL, TORONTO, QUEBEC = uuid4(), uuid4(), uuid4()


@asynccontextmanager
async def listening(harness: DeliveryHarness) -> AsyncIterator[EndpointCache]:
    endpoint_cache = EndpointCache(harness.encryptor)
    task = asyncio.create_task(endpoint_cache.run(harness.database))
    await eventually(lambda: asyncio.sleep(0, endpoint_cache.last_change is not None), what="it has loaded")
    try:
        yield endpoint_cache
    finally:
        task.cancel()
        await asyncio.wait({task})


def matching_endpoints(harness: DeliveryHarness, endpoint_cache: EndpointCache) -> list[UUID]:
    return list(endpoint_cache.matching_endpoints(to_uuid(harness.tenant_id), True, "job.created", ()))


async def test_a_change_is_known_by_its_notification(harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "REFRESH_SECONDS", 60.0)
    async with listening(harness) as endpoint_cache:
        endpoint_id = to_uuid(await harness.endpoint("http://127.0.0.1:9999/a"))
        await eventually(
            lambda: asyncio.sleep(0, matching_endpoints(harness, endpoint_cache) == [endpoint_id]), what="it is known"
        )
        await harness.rows("UPDATE endpoints SET url = 'http://127.0.0.1:9999/b' RETURNING 1")

        def moved() -> bool:
            target = endpoint_cache.target(endpoint_id)
            return target is not None and target.url.endswith("/b")

        await eventually(lambda: asyncio.sleep(0, moved()), what="the new address is known")
        await harness.rows("UPDATE endpoints SET enabled = false RETURNING 1")
        await eventually(lambda: asyncio.sleep(0, not matching_endpoints(harness, endpoint_cache)), what="it is off")
        assert endpoint_cache.target(endpoint_id) is None


async def test_a_failure_streak_is_no_change_of_the_endpoint(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/a")
    (before,) = await harness.rows("SELECT last_value FROM endpoint_changes")
    await harness.rows("UPDATE endpoints SET failing_since = now(), failures_since = 3, warned_at = now() RETURNING 1")
    (after,) = await harness.rows("SELECT last_value FROM endpoint_changes")

    assert before == after


async def test_a_lost_connection_is_made_again(harness: DeliveryHarness) -> None:
    async with listening(harness) as endpoint_cache:
        await harness.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'webhooks-endpoints'"
        )
        endpoint_id = to_uuid(await harness.endpoint("http://127.0.0.1:9999/a"))
        await eventually(
            lambda: asyncio.sleep(0, matching_endpoints(harness, endpoint_cache) == [endpoint_id]), what="it is known"
        )


async def test_the_fan_out_never_uses_stale_endpoints(harness: DeliveryHarness, receiver: Receiver) -> None:
    # This cache gets no notifications, and each event follows a committed change.
    for number in range(5):
        await harness.endpoint(receiver.url(f"/{number}"))
        await harness.publish_job()

    (row,) = await harness.rows("SELECT count(*) AS deliveries FROM deliveries")
    assert row.deliveries == 1 + 2 + 3 + 4 + 5


async def test_an_open_transaction_that_changes_an_endpoint_makes_the_cache_stale(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/a")
    async with harness.database.engine.connect() as other:
        await other.exec_driver_sql("UPDATE endpoints SET url = 'http://127.0.0.1:9999/b'")
        # The change has its number already, but is not visible yet.
        await harness.know_endpoints()
        before = await harness.publish(job_created(harness.tenant_id), room=lambda _: 1)
        await other.commit()
    after = await harness.publish(job_created(harness.tenant_id), room=lambda _: 1)

    assert len(before) == len(after) == 1
    target = harness.endpoint_cache.target(after[0].endpoint_id)
    assert target is not None
    assert target.url.endswith("/b")


async def test_a_replaced_secret_signs_until_its_overlap_ends(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = to_uuid(await harness.endpoint("http://127.0.0.1:9999/a"))
    async with listening(harness) as endpoint_cache:
        assert endpoint_cache.target(endpoint_id) is not None
        async with harness.database.transaction() as session:
            await session.execute(
                text("UPDATE endpoints SET previous_secret_sealed = secret_sealed, previous_secret_until = :until"),
                {"until": datetime.now(UTC) + timedelta(hours=1)},
            )

        def keys() -> int:
            target = endpoint_cache.target(endpoint_id)
            return 0 if target is None else len(target.keys)

        await eventually(lambda: asyncio.sleep(0, keys() == 2), what="both sign")
        later = SimpleNamespace(now=lambda zone: datetime.now(zone) + timedelta(hours=2))
        monkeypatch.setattr(cache_module, "datetime", later)
        await eventually(lambda: asyncio.sleep(0, keys() == 1), what="the new one signs alone")


async def test_a_delivery_that_waits_goes_where_its_endpoint_is_now(harness: DeliveryHarness) -> None:
    release = asyncio.Event()
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        await release.wait()
        return web.Response()

    async with serving(answer) as url, harness.delivering(endpoint_in_flight_max=1) as worker:
        endpoint_id = to_uuid(await harness.endpoint(f"{url}/old", rate_limit_per_second=1))
        await harness.publish(*(job_created(harness.tenant_id) for _ in range(3)), dispatcher=worker)
        await eventually(lambda: asyncio.sleep(0, paths == ["/old"]), what="the first is under way")
        await harness.rows(
            "UPDATE endpoints SET url = :url, rate_limit_per_second = NULL, version = 2 RETURNING 1", url=f"{url}/new"
        )

        def moved() -> bool:
            target = harness.endpoint_cache.target(endpoint_id)
            return target is not None and target.version == 2

        await eventually(lambda: asyncio.sleep(0, moved()), what="the new address is known")
        release.set()
        await eventually(lambda: asyncio.sleep(0, len(paths) == 3), what="the others have followed")

    assert paths == ["/old", "/new", "/new"]


async def test_tenant_mode_type_and_location_must_all_agree(harness: DeliveryHarness) -> None:
    montreal, toronto = uuid4(), uuid4()
    here = to_uuid(await harness.endpoint("http://127.0.0.1:9999/here"))
    everywhere = to_uuid(await harness.endpoint("http://127.0.0.1:9999/everywhere"))
    await harness.rows(
        "UPDATE endpoints SET location_ids = ARRAY[CAST(:one AS uuid)] WHERE id = :id RETURNING 1",
        one=montreal,
        id=here,
    )
    await harness.know_endpoints()
    tenant_id = to_uuid(harness.tenant_id)

    def matched(*location_ids: UUID, tenant_id: UUID = tenant_id, livemode: bool = True) -> set[UUID]:
        return set(harness.endpoint_cache.matching_endpoints(tenant_id, livemode, "job.created", location_ids))

    assert matched(montreal) == {here, everywhere}
    assert matched(toronto, montreal) == {here, everywhere}
    assert matched(toronto) == {everywhere}
    assert matched(montreal, livemode=False) == set()
    assert matched(montreal, tenant_id=uuid4()) == set()


def test_matching_is_by_type_and_location_and_names_no_endpoint_twice() -> None:
    subscriptions: dict[str, tuple[tuple[str, ...], frozenset[UUID] | None]] = {
        "all": (("*",), None),
        "prefix": (("job.*",), None),
        "exact": (("job.created",), frozenset({MONTREAL})),
        "both": (("job.created", "job.*"), frozenset({MONTREAL, TORONTO})),
        "other": (("endpoint.*", "job.deleted"), None),
    }
    ids = {name: uuid4() for name in subscriptions}
    matcher = Matcher(
        [Subscription(ids[name], types, location_ids) for name, (types, location_ids) in subscriptions.items()]
    )

    def matched(event_type: str, *location_ids: UUID) -> list[str]:
        names = {endpoint_id: name for name, endpoint_id in ids.items()}
        return sorted(names[one] for one in matcher.matching_endpoints(event_type, location_ids))

    assert matched("job.created", MONTREAL) == ["all", "both", "exact", "prefix"]
    assert matched("job.created", MONTREAL, TORONTO) == ["all", "both", "exact", "prefix"]
    assert matched("job.created", TORONTO, QUEBEC) == ["all", "both", "prefix"]
    assert matched("job.created", QUEBEC) == ["all", "prefix"]
    assert matched("job.created") == ["all", "prefix"]
    assert matched("job.deleted", QUEBEC) == ["all", "other", "prefix"]
    assert matched("jobs.created", MONTREAL) == ["all"]
