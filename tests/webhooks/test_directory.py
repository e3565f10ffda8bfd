"""What a worker knows of endpoints: at once what its fan-out needs, within a second what others changed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from sqlalchemy import text

from shared.ids import new_id, to_uuid
from tests.support.receiver import Receiver
from tests.support.servers import serving
from tests.support.suite import eventually
from tests.support.webhooks import Desk, job_created
from webhooks import directory as directory_module
from webhooks.directory import Directory
from webhooks.domain.matching import Matcher, Subscription

MONTREAL, TORONTO, QUEBEC = uuid4(), uuid4(), uuid4()


@asynccontextmanager
async def listening(desk: Desk) -> AsyncIterator[Directory]:
    directory = Directory(desk.encryptor)
    task = asyncio.create_task(directory.run(desk.database))
    await eventually(lambda: asyncio.sleep(0, directory.last_change is not None), what="it has loaded")
    try:
        yield directory
    finally:
        task.cancel()
        await asyncio.wait({task})


def wanting(desk: Desk, directory: Directory) -> list[UUID]:
    return list(directory.wanting(to_uuid(desk.tenant_id), True, "job.created", ()))


async def test_a_change_is_known_without_looking_for_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "REFRESH_SECONDS", 60.0)
    async with listening(desk) as directory:
        endpoint_id = to_uuid(await desk.endpoint("http://127.0.0.1:9999/a"))
        await eventually(lambda: asyncio.sleep(0, wanting(desk, directory) == [endpoint_id]), what="it is known")
        await desk.rows("UPDATE endpoints SET url = 'http://127.0.0.1:9999/b' RETURNING 1")

        def moved() -> bool:
            target = directory.target(endpoint_id)
            return target is not None and target.url.endswith("/b")

        await eventually(lambda: asyncio.sleep(0, moved()), what="the new address is known")
        await desk.rows("UPDATE endpoints SET enabled = false RETURNING 1")
        await eventually(lambda: asyncio.sleep(0, not wanting(desk, directory)), what="it is off")
        assert directory.target(endpoint_id) is None


async def test_how_an_endpoint_fares_is_no_change(desk: Desk) -> None:
    await desk.endpoint("http://127.0.0.1:9999/a")
    (before,) = await desk.rows("SELECT last_value FROM endpoint_changes")
    await desk.rows("UPDATE endpoints SET failing_since = now(), failures_since = 3, warned_at = now() RETURNING 1")
    (after,) = await desk.rows("SELECT last_value FROM endpoint_changes")

    assert before == after


async def test_a_lost_connection_is_made_anew(desk: Desk) -> None:
    async with listening(desk) as directory:
        await desk.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'webhooks-endpoints'"
        )
        endpoint_id = to_uuid(await desk.endpoint("http://127.0.0.1:9999/a"))
        await eventually(lambda: asyncio.sleep(0, wanting(desk, directory) == [endpoint_id]), what="it is known")


async def test_the_fan_out_never_uses_an_older_view(desk: Desk, receiver: Receiver) -> None:
    # Nobody tells this directory: each event follows a change that was answered.
    for number in range(5):
        await desk.endpoint(receiver.url(f"/{number}"))
        await desk.publish_job()

    (row,) = await desk.rows("SELECT count(*) AS deliveries FROM deliveries")
    assert row.deliveries == 1 + 2 + 3 + 4 + 5


async def test_a_change_that_is_being_made_makes_every_view_old(desk: Desk) -> None:
    await desk.endpoint("http://127.0.0.1:9999/a")
    async with desk.database.engine.connect() as other:
        await other.exec_driver_sql("UPDATE endpoints SET url = 'http://127.0.0.1:9999/b'")
        # Its number is drawn already, but nobody can see what it stands for.
        await desk.know_endpoints()
        before = await desk.publish(job_created(desk.tenant_id), room=lambda _: 1)
        await other.commit()
    after = await desk.publish(job_created(desk.tenant_id), room=lambda _: 1)

    assert len(before) == len(after) == 1
    target = desk.directory.target(after[0].endpoint_id)
    assert target is not None
    assert target.url.endswith("/b")


async def test_a_replaced_secret_signs_until_its_time_is_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint_id = to_uuid(await desk.endpoint("http://127.0.0.1:9999/a"))
    async with listening(desk) as directory:
        assert directory.target(endpoint_id) is not None
        async with desk.database.transaction() as session:
            await session.execute(
                text("UPDATE endpoints SET previous_secret_sealed = secret_sealed, previous_secret_until = :until"),
                {"until": datetime.now(UTC) + timedelta(hours=1)},
            )

        def keys() -> int:
            target = directory.target(endpoint_id)
            return 0 if target is None else len(target.keys)

        await eventually(lambda: asyncio.sleep(0, keys() == 2), what="both sign")
        later = SimpleNamespace(now=lambda zone: datetime.now(zone) + timedelta(hours=2))
        monkeypatch.setattr(directory_module, "datetime", later)
        await eventually(lambda: asyncio.sleep(0, keys() == 1), what="the new one signs alone")


async def test_a_delivery_that_waits_goes_where_its_endpoint_is_now(desk: Desk) -> None:
    release = asyncio.Event()
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        await release.wait()
        return web.Response()

    async with serving(answer) as url, desk.delivering(endpoint_in_flight_max=1) as worker:
        endpoint_id = to_uuid(await desk.endpoint(f"{url}/old", rate_limit_per_second=1))
        await desk.publish(*(job_created(desk.tenant_id) for _ in range(3)), dispatcher=worker)
        await eventually(lambda: asyncio.sleep(0, paths == ["/old"]), what="the first is under way")
        await desk.rows(
            "UPDATE endpoints SET url = :url, rate_limit_per_second = NULL, version = 2 RETURNING 1", url=f"{url}/new"
        )

        def moved() -> bool:
            target = desk.directory.target(endpoint_id)
            return target is not None and target.version == 2

        await eventually(lambda: asyncio.sleep(0, moved()), what="the new address is known")
        release.set()
        await eventually(lambda: asyncio.sleep(0, len(paths) == 3), what="the others have followed")

    assert paths == ["/old", "/new", "/new"]


def test_matching_is_by_type_and_place_and_names_nobody_twice() -> None:
    tenant_id = to_uuid(new_id("ten"))
    wishes: dict[str, tuple[tuple[str, ...], frozenset[UUID] | None]] = {
        "all": (("*",), None),
        "prefix": (("job.*",), None),
        "exact": (("job.created",), frozenset({MONTREAL})),
        "both": (("job.created", "job.*"), frozenset({MONTREAL, TORONTO})),
        "other": (("endpoint.*", "job.deleted"), None),
    }
    ids = {name: uuid4() for name in wishes}
    matcher = Matcher(
        [Subscription(ids[name], 1, tenant_id, True, types, places) for name, (types, places) in wishes.items()]
    )

    def heard(event_type: str, *places: UUID) -> list[str]:
        names = {endpoint_id: name for name, endpoint_id in ids.items()}
        return sorted(names[one] for one in matcher.wanting(event_type, places))

    assert heard("job.created", MONTREAL) == ["all", "both", "exact", "prefix"]
    assert heard("job.created", MONTREAL, TORONTO) == ["all", "both", "exact", "prefix"]
    assert heard("job.created", TORONTO, QUEBEC) == ["all", "both", "prefix"]
    assert heard("job.created", QUEBEC) == ["all", "prefix"]
    assert heard("job.created") == ["all", "prefix"]
    assert heard("job.deleted", QUEBEC) == ["all", "other", "prefix"]
    assert heard("jobs.created", MONTREAL) == ["all"]
