"""The days of events, deliveries and attempts: made ahead of time, dropped when they are too old.

Each of the three tables has a partition for a day (of the event's id) and a default one, in which lands what fits no day; it is emptied
into a new day's partition when that is made, and of what is too old. Locks that a busy table does not give at once are asked for again
later.
"""

import asyncio
import random
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.postgres.advisory_locks import AdvisoryLock, try_lock
from shared.postgres.database import Database
from webhooks import queue
from webhooks.postgres import first_id_at

TABLES = {"attempts": "event_id", "deliveries": "event_id", "events": "id"}
"""With the column that they are partitioned by, in the order in which they are dropped."""
DAYS_AHEAD = 3
DAYS_DROPPED_MAX = 5
STRAYS_DELETED_MAX = 5000
CHECK_SECONDS = 600.0
RETRY_SECONDS = 20.0
LOCK_TIMEOUT_MS = 300

_LOCK_TIMEOUT = text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
_EXISTING = text(
    """
    SELECT child.relname FROM pg_inherits i JOIN pg_class child ON child.oid = i.inhrelid
    WHERE i.inhparent = CAST(:parent AS regclass)
    """
)

log = structlog.get_logger()


class PartitionMaintenance:
    """Keeps the partitions of one database in order."""

    def __init__(self, database: Database, retention_days: int):
        self._database = database
        self._retention_days = retention_days

    async def run(self) -> None:
        """Look after them until cancelled."""
        while True:
            done = await self.keep(datetime.now(UTC))
            await asyncio.sleep(CHECK_SECONDS if done else RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def keep(self, now: datetime) -> bool:
        """Make the days to come, drop those that are too old; whether there was nothing that has to be tried again."""
        today = now.date()
        oldest = today - timedelta(days=self._retention_days)
        done = True
        for ahead in range(DAYS_AHEAD + 1):
            done &= await self._try("make", today + timedelta(days=ahead))
        async with self._database.reading() as session:
            days = {_day(name) for table in TABLES for name in await _existing(session, table)}
        for day in sorted(one for one in days if one is not None and one < oldest)[:DAYS_DROPPED_MAX]:
            done &= await self._try("drop", day)
        return await self._delete_strays(oldest) and done

    async def _try(self, what: str, day: date) -> bool:
        try:
            async with self._database.transaction() as session:
                if not await try_lock(session, AdvisoryLock.WEBHOOKS_PARTITIONS):
                    return False
                await session.execute(_LOCK_TIMEOUT)
                await (_make(session, day) if what == "make" else _drop(session, day))
        except Exception:
            log.warning("partition_not_kept", what=what, day=str(day), exc_info=True)
            return False
        return True

    async def _delete_strays(self, oldest: date) -> bool:
        """Delete what is too old from the queue and the default partitions, some at a time; whether that was all."""
        first = _first(oldest)
        try:
            async with self._database.transaction() as session:
                # Without its event a row of the queue would be claimed for ever, and hold up its job's.
                deleted = await _delete(session, "delivery_due", "event_id", first)
                done = deleted < STRAYS_DELETED_MAX
                if deleted:
                    await queue.unblock_all(session)
                for table, column in TABLES.items():
                    done &= await _delete(session, f"{table}_default", column, first) < STRAYS_DELETED_MAX
        except Exception:
            log.warning("strays_not_deleted", exc_info=True)
            return False
        return done


async def _make(session: AsyncSession, day: date) -> None:
    """The partitions of one day. What the default one holds of that day moves over."""
    bounds = f"FROM ('{_first(day)}') TO ('{_first(day + timedelta(days=1))}')"
    for table, column in TABLES.items():
        name = f"{table}_{day:%Y%m%d}"
        if name in await _existing(session, table):
            continue
        await session.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
        values = {"first": _first(day), "last": _first(day + timedelta(days=1))}
        await session.execute(
            text(
                f"WITH moved AS (DELETE FROM {table}_default WHERE {column} >= :first AND {column} < :last RETURNING *)"  # noqa: S608
                f" INSERT INTO {name} SELECT * FROM moved"
            ),
            values,
        )
        # Unlike CREATE … PARTITION OF it does not keep out readers and writers of the other partitions.
        await session.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}"))


async def _drop(session: AsyncSession, day: date) -> None:
    """The partitions of one day, with all that is still queued of it."""
    values = {"first": _first(day), "last": _first(day + timedelta(days=1))}
    await session.execute(text("DELETE FROM delivery_due WHERE event_id >= :first AND event_id < :last"), values)
    await queue.unblock_all(session)
    for table in TABLES:
        await session.execute(text(f"DROP TABLE IF EXISTS {table}_{day:%Y%m%d}"))
    log.info("partitions_dropped", day=str(day))


async def _delete(session: AsyncSession, table: str, column: str, first: UUID) -> int:
    """Delete some of what is older than `first`; how many rows."""
    statement = text(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - our own names
        f"SELECT ctid FROM {table} WHERE {column} < :first LIMIT {STRAYS_DELETED_MAX}))"
    )
    return int((await session.execute(statement, {"first": first})).rowcount)  # type: ignore[attr-defined]


async def _existing(session: AsyncSession, table: str) -> set[str]:
    return set((await session.execute(_EXISTING, {"parent": table})).scalars())


def _day(partition: str) -> date | None:
    suffix = partition.rpartition("_")[2]
    return datetime.strptime(suffix, "%Y%m%d").replace(tzinfo=UTC).date() if suffix.isdigit() else None


def _first(day: date) -> UUID:
    return first_id_at(datetime(day.year, day.month, day.day, tzinfo=UTC))
