"""Maintains the daily partitions of events, deliveries and attempts, by the day in the event's id; other days share a default one."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from shared.chassis.parts import periodically
from shared.ids import first_id_at
from shared.postgres.advisory_locks import AdvisoryLock
from shared.postgres.database import Database
from shared.postgres.partitions import (
    DAYS,
    DELETED_ROWS_MAX,
    Bound,
    PartitionedTable,
    PartitionMaintenance,
    delete_before,
)
from webhooks import queue

TABLES = (
    PartitionedTable("attempts", "event_id", "attempts_default"),
    PartitionedTable("deliveries", "event_id", "deliveries_default"),
    PartitionedTable("events", "id", "events_default"),
)
"""The partitioned tables, in the order in which a day is dropped."""
DAYS_AHEAD = 3
PERIOD_SECONDS = 600.0
RETRY_SECONDS = 20.0
JITTER = 0.5
STEP_TIMEOUT_MS = 15_000
"""Long enough to search a large queue."""


def partition_maintenance(database: Database) -> PartitionMaintenance:
    """The maintenance of one database: it makes and drops daily partitions."""
    return PartitionMaintenance(
        database,
        AdvisoryLock.WEBHOOKS_PARTITIONS,
        TABLES,
        DAYS,
        ahead=DAYS_AHEAD,
        bound_of=first_id_at,
        delete_references=_delete_queued,
        step_timeout_ms=STEP_TIMEOUT_MS,
    )


def maintaining_partitions(database: Database, *, retention_days: int) -> Callable[[], Awaitable[None]]:
    """A part's `run`: make partitions of coming days and drop those older than `retention_days`, until cancelled."""
    maintenance = partition_maintenance(database)

    async def work() -> float | None:
        return None if await maintenance.run_once(datetime.now(UTC), kept=retention_days) else RETRY_SECONDS

    return periodically(work, PERIOD_SECONDS, jitter=JITTER)


async def _delete_queued(session: AsyncSession, before: Bound) -> bool:
    # A row of the queue without its event would be claimed for ever, and block the other deliveries of its job.
    deleted = await delete_before(session, "delivery_due", "event_id", before)
    if deleted:
        await queue.unblock_all(session)
    return deleted == DELETED_ROWS_MAX
