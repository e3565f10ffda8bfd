"""Range partitions by time: made ahead of time, dropped when they are too old.

Each table has a default partition, which takes rows that fit no other. When a partition is made, the rows of its range move into it.
Rows of the default partition that are too old are deleted.

Any number of replicas do this; an advisory lock lets one work at a time. Each step is a short transaction that gives up rather than block
writers, and is tried again later.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.postgres.advisory_locks import AdvisoryLock, try_lock
from shared.postgres.database import Database
from shared.postgres.transient_errors import is_transient

LOCK_TIMEOUT_MS = 200
"""Bound on the wait for a table: other transactions that need the table wait behind the step."""
STEP_TIMEOUT_MS = 2_000
"""Bound on one statement of a step."""
MOVED_ROWS_MAX = 20_000
"""If the default partition holds more rows of a range, they stay there until they are old enough to be deleted."""
DELETED_ROWS_MAX = 5_000
"""Rows deleted from one table in one transaction."""

_PARTITIONS = text(
    """
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
    WHERE inhparent = CAST(:parent AS regclass)
    """
)

log = structlog.get_logger()

Bound: TypeAlias = datetime | UUID
"""A value of the column that a table is partitioned by."""
Step = Callable[[AsyncSession], Awaitable[bool]]
"""The work of one transaction; returns whether there is more of it to do."""


@dataclass(frozen=True, slots=True)
class PartitionedTable:
    """A table and its default partition. The name of any other partition is `<table>_<suffix of its range>`."""

    name: str
    column: str
    default_partition: str


@dataclass(frozen=True, slots=True)
class Ranges:
    """How time is divided. A range is named by its first day, in UTC."""

    suffix: str
    """A format of `strftime`."""
    first_day: Callable[[date], date]
    """The first day of the range that contains a day."""
    shift: Callable[[date, int], date]
    """The first day of the range that is this many ranges later."""


def _months_after(month: date, count: int) -> date:
    years, place = divmod(month.year * 12 + month.month - 1 + count, 12)
    return date(years, place + 1, 1)


DAYS = Ranges("%Y%m%d", lambda day: day, lambda day, count: day + timedelta(days=count))
MONTHS = Ranges("%Y_%m", lambda day: day.replace(day=1), _months_after)


def _same(instant: datetime) -> Bound:
    return instant


class PartitionMaintenance:
    """Keeps the partitions of some tables; the tables have the same ranges, and those of a range are made and dropped together.

    `bound_of` turns an instant into a value of the column. `delete_references` deletes other tables' rows that refer to rows before a
    bound, a bounded number at a time, and says whether there are more: it runs before anything is dropped or deleted.
    """

    def __init__(
        self,
        database: Database,
        lock: AdvisoryLock,
        tables: Sequence[PartitionedTable],
        ranges: Ranges,
        *,
        ahead: int,
        bound_of: Callable[[datetime], Bound] = _same,
        delete_references: Callable[[AsyncSession, Bound], Awaitable[bool]] | None = None,
        step_timeout_ms: int = STEP_TIMEOUT_MS,
    ):
        self._database = database
        self._lock = lock
        self._tables = tables
        self._ranges = ranges
        self._ahead = ahead
        self._bound_of = bound_of
        self._delete_references = delete_references
        self._step_timeout_ms = step_timeout_ms

    async def run_once(self, now: datetime, *, kept: int) -> bool:
        """Do all that is due at this instant; False when something has to be tried again.

        The present range and `ahead` ranges after it get their partitions. The present range and `kept` ranges before it are kept.
        """
        present = self._ranges.first_day(now.astimezone(UTC).date())
        oldest = self._ranges.shift(present, -kept)
        complete, found = await self._existing()
        wanted = [self._ranges.shift(present, count) for count in range(self._ahead + 1)]
        steps: list[tuple[str, Step]] = [
            *((f"make {first}", self._making(first)) for first in wanted if first not in complete),
            *((f"drop {first}", self._dropping(first)) for first in sorted(found) if first < oldest),
            ("delete strays", self._deleting_strays(self._bound(oldest))),
        ]
        return all([await self.run_step(name, step) for name, step in steps])

    async def run_step(self, name: str, step: Step) -> bool:
        """Repeat a step while there is more to do, each time in a transaction of its own; False when it has to be tried again.

        It runs under the lock, with short time-outs.
        """
        more = True
        while more:
            try:
                async with self._database.transaction() as session:
                    if not await try_lock(session, self._lock):
                        return False
                    await session.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
                    await session.execute(text(f"SET LOCAL statement_timeout = {self._step_timeout_ms}"))
                    more = await step(session)
            except Exception as error:
                log.warning("maintenance_postponed", step=name, error=repr(error), exc_info=not is_transient(error))
                return False
        return True

    async def _existing(self) -> tuple[set[date], set[date]]:
        """The ranges for which all tables have a partition, and those for which any has."""
        async with self._database.reading() as session:
            by_table = [
                {first for name in await _partitions(session, table) if (first := self._range_of(table, name))}
                for table in self._tables
            ]
        return set.intersection(*by_table), set.union(*by_table)

    def _range_of(self, table: PartitionedTable, partition: str) -> date | None:
        suffix = partition.removeprefix(f"{table.name}_")
        try:
            first = datetime.strptime(suffix, self._ranges.suffix).replace(tzinfo=UTC).date()
        except ValueError:
            return None
        return first if self._partition(table, first) == partition else None

    def _partition(self, table: PartitionedTable, first: date) -> str:
        return f"{table.name}_{first:{self._ranges.suffix}}"

    def _bound(self, first: date) -> Bound:
        return self._bound_of(datetime.combine(first, time(), UTC))

    def _making(self, first: date) -> Step:
        bounds = {"since": self._bound(first), "until": self._bound(self._ranges.shift(first, 1))}

        async def step(session: AsyncSession) -> bool:
            missing = [
                table
                for table in self._tables
                if self._partition(table, first) not in await _partitions(session, table)
            ]
            for table in missing:
                if await _count_in_default(session, table, bounds) > MOVED_ROWS_MAX:
                    log.warning(
                        "default_partition_too_full", table=table.name, range=str(first), rows_min=MOVED_ROWS_MAX
                    )
                    return False
            for table in missing:
                await _make(session, table, self._partition(table, first), bounds)
            return False

        return step

    def _dropping(self, first: date) -> Step:
        until = self._bound(self._ranges.shift(first, 1))

        async def step(session: AsyncSession) -> bool:
            if self._delete_references is not None and await self._delete_references(session, until):
                return True
            for table in self._tables:
                await session.execute(text(f"DROP TABLE IF EXISTS {self._partition(table, first)}"))
            log.info("partitions_dropped", tables=[table.name for table in self._tables], range=str(first))
            return False

        return step

    def _deleting_strays(self, oldest: Bound) -> Step:
        async def step(session: AsyncSession) -> bool:
            if self._delete_references is not None and await self._delete_references(session, oldest):
                return True
            counts = [
                await delete_before(session, table.default_partition, table.column, oldest) for table in self._tables
            ]
            return max(counts) == DELETED_ROWS_MAX

        return step


async def delete_before(session: AsyncSession, table: str, column: str, bound: Bound) -> int:
    """Delete at most `DELETED_ROWS_MAX` rows whose column is less than the bound; returns their number."""
    statement = f"""
        DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {column} < :bound LIMIT :rows_max))
    """  # noqa: S608 - names of our own
    deleted: Any = await session.execute(text(statement), {"bound": bound, "rows_max": DELETED_ROWS_MAX})
    return int(deleted.rowcount)


async def _partitions(session: AsyncSession, table: PartitionedTable) -> set[str]:
    return set((await session.execute(_PARTITIONS, {"parent": table.name})).scalars())


async def _count_in_default(session: AsyncSession, table: PartitionedTable, bounds: dict[str, Bound]) -> int:
    """The number of rows of a range that the default partition holds, counted up to one more than `MOVED_ROWS_MAX`."""
    statement = f"""
        SELECT count(*) FROM (
            SELECT FROM {table.default_partition} WHERE {table.column} >= :since AND {table.column} < :until LIMIT :rows_max
        ) AS found
    """  # noqa: S608 - names of our own
    return int((await session.execute(text(statement), {**bounds, "rows_max": MOVED_ROWS_MAX + 1})).scalar_one())


async def _make(session: AsyncSession, table: PartitionedTable, partition: str, bounds: dict[str, Bound]) -> None:
    """Make a partition, and move its rows from the default one into it."""
    # All locks that attaching needs are taken first. Unlike CREATE … PARTITION OF, attaching keeps out neither
    # readers nor writers of the other partitions.
    await session.execute(text(f"LOCK TABLE ONLY {table.name} IN SHARE UPDATE EXCLUSIVE MODE"))
    await session.execute(text(f"LOCK TABLE {table.default_partition} IN ACCESS EXCLUSIVE MODE"))
    await session.execute(
        text(f"CREATE TABLE {partition} (LIKE {table.name} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    )
    moved = f"""
        WITH moved AS (
            DELETE FROM {table.default_partition} WHERE {table.column} >= :since AND {table.column} < :until RETURNING *
        ) INSERT INTO {partition} SELECT * FROM moved
    """  # noqa: S608 - names of our own
    await session.execute(text(moved), bounds)
    values = f"FROM ('{bounds['since']}') TO ('{bounds['until']}')"
    await session.execute(text(f"ALTER TABLE {table.name} ATTACH PARTITION {partition} FOR VALUES {values}"))
    log.info("partition_made", partition=partition)
