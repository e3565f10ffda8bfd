"""The feed: all events in the order of their publication, with any number of writers."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from shared.api import Paging
from shared.errors import BadRequest
from shared.ids import new_id, to_uuid
from tests.harness.services import open_database
from tests.harness.waiting import eventually
from tests.harness.webhooks import DeliveryHarness, Tenant, Webhooks
from webhooks.events import feed
from webhooks.events.schemas import Feed


async def read_on(tenant: Tenant, query: str = "", *, count: int) -> tuple[list[dict[str, Any]], str]:
    """That many events of the feed, and the cursor after them."""
    found: list[dict[str, Any]] = []
    cursor = ""

    async def enough() -> bool:
        nonlocal cursor
        while True:
            answer = await tenant.owner.get(f"/v1/events?{query}{cursor}")
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found.extend(page["data"])
            cursor = f"&cursor={page['next_cursor']}"
            if not page["has_more"]:
                return len(found) >= count

    await eventually(enough, what=f"{count} events are in the feed")
    assert len(found) == count
    return found, cursor


async def test_the_feed_continues_after_its_cursor(tenant: Tenant) -> None:
    published = [await tenant.publish_job() for _ in range(5)]

    first, cursor = await read_on(tenant, "limit=2", count=5)
    nothing = await tenant.owner.read(f"/v1/events?limit=2{cursor}")
    more = await tenant.publish_job()

    async def one_more() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = (await tenant.owner.read(f"/v1/events?limit=2{cursor}"))["data"]
        return found or None

    (last,) = await eventually(one_more, what="the new one is there")
    # Events of one job keep their order; different jobs may be in different partitions.
    assert {one["id"] for one in first} == {event.id for event in published}
    assert (nothing["data"], nothing["has_more"]) == ([], False)
    assert last["id"] == more.id
    assert last["type"] == "job.created"
    assert last["data"]["job"]["id"] == more.subject
    assert last["location_ids"] == more.data.location_ids
    assert (last["object"], last["livemode"]) == ("event", True)


async def test_the_feed_is_filtered_by_location_and_type(tenant: Tenant) -> None:
    here, there = await tenant.create_location(), await tenant.create_location()
    wanted = [await tenant.publish_job(here), await tenant.publish_job(there, here)]
    await tenant.publish_job(there)
    await read_on(tenant, count=3)

    at_place, cursor = await read_on(tenant, f"location_id={here}", count=2)
    jobs = (await tenant.owner.read("/v1/events?event_type=job.*"))["data"]
    updated = (await tenant.owner.read("/v1/events?event_type=job.updated"))["data"]
    other = await tenant.owner.get(f"/v1/events?location_id={there}{cursor}")
    odd = await tenant.owner.get("/v1/events?event_type=Job")

    assert {one["id"] for one in at_place} == {event.id for event in wanted}
    assert (len(jobs), updated) == (3, [])
    assert (other.status_code, other.json()["code"]) == (400, "cursor_filters_differ")
    assert odd.status_code == 422


async def test_a_tenant_reads_only_its_own_events(service: Webhooks, tenant: Tenant) -> None:
    await tenant.publish_job()
    await tenant.publish_job(livemode=False)
    (only,), cursor = await read_on(tenant, count=1)
    stranger = await service.create_tenant()
    tester = await tenant.create_staff(kind="owner", livemode=False)

    theirs = (await stranger.owner.read("/v1/events"))["data"]
    taken = await stranger.owner.get(f"/v1/events?{cursor[1:]}")

    async def of_tests() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = (await tester.read("/v1/events"))["data"]
        return found or None

    tested = await eventually(of_tests, what="the event of the other mode is there")

    assert (only["livemode"], theirs) == (True, [])
    assert taken.status_code == 400
    assert [one["livemode"] for one in tested] == [False]


async def test_what_a_slow_writer_commits_late_is_not_missed(tenant: Tenant) -> None:
    await tenant.publish_job()
    _, cursor = await read_on(tenant, count=1)
    database = open_database(tenant.service.settings.database_url)
    async with database.engine.connect() as slow:
        # A transaction that has its number, and so the positions of its events, long before it commits.
        number = (await slow.execute(text("SELECT pg_current_xact_id()::text::bigint"))).scalar_one()
        late = await tenant.publish_job()
        row = None
        async with database.reading() as session:

            async def stored() -> Any:
                statement = text("SELECT * FROM events WHERE subject = :subject")
                return (await session.execute(statement, {"subject": late.subject})).one_or_none()

            row = await eventually(stored, what="the event is stored")
        hidden = await tenant.owner.read(f"/v1/events?{cursor[1:]}")
        assert row.position > number * 65_536
        await slow.execute(
            text(
                "INSERT INTO events SELECT :new_id, tenant_id, :position, occurred_at, livemode, type, subject, location_ids,"
                " traceparent, body FROM events WHERE id = :id"
            ),
            {"position": number * 65_536, "id": row.id, "new_id": to_uuid(new_id("evt"))},
        )
        await slow.commit()

    async def both() -> list[str] | None:
        page = (await tenant.owner.read(f"/v1/events?cursor={hidden['next_cursor']}"))["data"]
        return [one["id"] for one in page] if len(page) >= 2 else None

    seen = await eventually(both, what="the feed continues")
    await database.close()
    assert (hidden["data"], hidden["has_more"]) == ([], False)
    assert len(seen) == 2
    assert seen[1] == late.id


async def test_a_reader_beside_many_writers_misses_nothing(tenant: Tenant) -> None:
    seen: list[str] = []
    total = 60

    async def read_along() -> None:
        cursor = ""
        while len(seen) < total:
            page = await tenant.owner.read(f"/v1/events?limit=7{cursor}")
            seen.extend(one["id"] for one in page["data"])
            cursor = f"&cursor={page['next_cursor']}"
            if not page["has_more"]:
                await asyncio.sleep(0.01)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(read_along())
        writing = [group.create_task(tenant.publish_job()) for _ in range(total)]

    assert sorted(seen) == sorted(task.result().id for task in writing)


async def test_a_cursor_older_than_stored_events_is_refused(harness: DeliveryHarness) -> None:
    await harness.publish_job()
    now = datetime.now(UTC)

    async def read(cursor: str | None, at: datetime) -> Feed:
        paging = Paging(limit=50, cursor=cursor, scope="feed", secret=b"secret")
        async with harness.database.reading() as session:
            return await feed.read_feed(
                session,
                harness.caller,
                paging,
                feed.FeedFilters(),
                retention=timedelta(days=30),
                now=at,
            )

    async def with_the_event() -> Feed | None:
        # No event at or above the oldest open transaction of the server is shown.
        found = await read(None, now)
        return found if found.data else None

    first = await eventually(with_the_event, what="the event is in the feed")
    in_time = await read(first.next_cursor, now + timedelta(days=29))
    with pytest.raises(BadRequest) as refused:
        await read(first.next_cursor, now + timedelta(days=31))

    assert (len(first.data), in_time.data) == (1, [])
    assert refused.value.problem_code == "cursor_expired"
    # A reader that has read since then may continue.
    await read(in_time.next_cursor, now + timedelta(days=58))


async def test_a_cursor_has_the_position_of_an_event(tenant: Tenant) -> None:
    # After a crash PostgreSQL reuses the numbers of transactions that stored nothing: a cursor beyond them would hide later events.
    event = await tenant.publish_job()
    await read_on(tenant, count=1)
    database = open_database(tenant.service.settings.database_url)
    async with database.reading() as session:
        statement = text("SELECT position, pg_current_xact_id() FROM events WHERE id = :id")
        position = (await session.execute(statement, {"id": to_uuid(event.id)})).scalar_one()
    await database.close()
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"

    for query in ("", "event_type=job.updated", f"created_from={tomorrow}"):
        cursor = (await tenant.owner.read(f"/v1/events?{query}"))["next_cursor"]
        signed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        assert json.loads(signed[16:])[1][0] == position, query
