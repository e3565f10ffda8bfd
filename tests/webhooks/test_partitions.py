"""Daily partitions are made in advance and dropped when they are old; rows without a partition are not lost."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from shared.ids import first_id_at
from tests.harness.stack import BackingStack
from tests.harness.webhooks import DeliveryHarness, job_created
from webhooks.events.worker import TABLES, partition_maintenance

DAY = timedelta(days=1)
COLUMNS = {table.name: table.column for table in TABLES}


async def days(harness: DeliveryHarness, table: str) -> list[str]:
    rows = await harness.rows(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = CAST(:t AS regclass)",
        t=table,
    )
    return sorted(found.group(1) for row in rows if (found := re.fullmatch(rf"{table}_(\d+)", row.relname)))


async def store(harness: DeliveryHarness, at: datetime) -> UUID:
    """An event of that instant with a pending delivery."""
    event_id = UUID(int=first_id_at(at).int | 7)
    async with harness.database.transaction() as session:
        values = {"id": event_id, "at": at, "endpoint_id": UUID(int=5)}
        for statement in (
            (
                "INSERT INTO events (id, tenant_id, position, occurred_at, livemode, type, subject, location_ids, body)"
                " VALUES (:id, :endpoint_id, 1, :at, true, 'job.created', '', '{}', '')"
            ),
            (
                "INSERT INTO deliveries (event_id, endpoint_id, tenant_id, livemode, status, event_type)"
                " VALUES (:id, :endpoint_id, :endpoint_id, true, 'pending', 'job.created')"
            ),
            "INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry) VALUES (:id, :endpoint_id, :at, false)",
        ):
            await session.execute(text(statement), values)
    return event_id


async def where(harness: DeliveryHarness, table: str, event_id: UUID) -> str:
    (row,) = await harness.rows(
        f"SELECT tableoid::regclass::text AS name FROM {table} WHERE {COLUMNS[table]} = :id", id=event_id
    )
    return str(row.name)


async def test_daily_partitions_are_made_and_dropped(backing: BackingStack) -> None:
    harness = await DeliveryHarness.on_new_database(backing)
    maintenance = partition_maintenance(harness.database)
    # Long after the days for which the migrations made partitions.
    now = datetime.now(UTC) + 60 * DAY
    old = await store(harness, now)

    assert await maintenance.run_once(now, kept=30)
    assert await days(harness, "events") == [f"{now + ahead * DAY:%Y%m%d}" for ahead in range(4)]
    later = now + 32 * DAY
    assert await maintenance.run_once(later, kept=30)

    # Of the first days the two that are younger than 30 days then, and the days to come.
    expected = [f"{now + ahead * DAY:%Y%m%d}" for ahead in (2, 3)] + [
        f"{later + ahead * DAY:%Y%m%d}" for ahead in range(4)
    ]
    for table in COLUMNS:
        assert await days(harness, table) == expected
    assert await harness.rows("SELECT 1 FROM events WHERE id = :id", id=old) == []
    assert await harness.queued() == []
    await harness.database.close()


async def test_rows_of_the_default_partition_move_when_their_day_is_made(backing: BackingStack) -> None:
    harness = await DeliveryHarness.on_new_database(backing)
    maintenance = partition_maintenance(harness.database)
    ahead = datetime.now(UTC) + 10 * DAY
    early = await store(harness, ahead)
    assert await where(harness, "deliveries", early) == "deliveries_default"

    assert await maintenance.run_once(ahead - DAY, kept=30)

    for table in ("events", "deliveries"):
        assert await where(harness, table, early) == f"{table}_{ahead:%Y%m%d}"
    await harness.database.close()


async def test_rows_of_the_default_partition_that_are_too_old_are_deleted(backing: BackingStack) -> None:
    harness = await DeliveryHarness.on_new_database(backing)
    maintenance = partition_maintenance(harness.database)
    now = datetime.now(UTC)
    await store(harness, now - 40 * DAY)
    kept = await store(harness, now - 20 * DAY)

    assert await maintenance.run_once(now, kept=30)

    assert [row.id for row in await harness.rows("SELECT id FROM events")] == [kept]
    await harness.database.close()


async def test_a_busy_table_is_tried_again_later(backing: BackingStack) -> None:
    harness = await DeliveryHarness.on_new_database(backing)
    maintenance = partition_maintenance(harness.database)
    later = datetime.now(UTC) + 32 * DAY

    async with harness.database.engine.connect() as reader:
        await reader.exec_driver_sql("SELECT count(*) FROM events")
        assert not await maintenance.run_once(later, kept=30)
    assert await maintenance.run_once(later, kept=30)

    assert all(day >= f"{later - 30 * DAY:%Y%m%d}" for day in await days(harness, "events"))
    await harness.database.close()


async def test_an_event_of_a_dropped_day_is_still_stored(harness: DeliveryHarness) -> None:
    await harness.endpoint("http://127.0.0.1:9999/never")
    event = job_created(harness.tenant_id)
    await harness.publish(event.model_copy(update={"id": "evt_" + "0" * 26}))

    (row,) = await harness.queued()
    assert await where(harness, "events", row.event_id) == "events_default"
