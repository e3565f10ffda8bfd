"""Deletes what is past its retention: monthly partitions of history, deleted jobs and actions. Makes the partitions of coming months.

Any number of replicas run this; a lock lets one work at a time. Every step is a short transaction that gives up rather than block
writers, and is retried later: `job_history_other` takes rows that have no partition meanwhile.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import structlog
from sqlalchemy import Result, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.postgres.advisory_locks import AdvisoryLock, try_lock
from shared.postgres.database import Database

log = structlog.get_logger(__name__)

PERIOD_SECONDS = 3600.0
RETRY_SECONDS = 60.0
MONTHS_AHEAD = 3
LOCK_TIMEOUT_MS = 200
"""Whoever needs a table that a step waits for waits as long."""
STEP_TIMEOUT_MS = 2_000
MOVED_ROWS_MAX = 20_000
"""A month of which more is in `job_history_other` already stays there, until it is old enough to be deleted."""
DELETED_ROWS_MAX = 5_000
PURGED_JOBS_MAX = 50
"""In one transaction; each can have hundreds of actions."""

_RETRIED_STATES = frozenset({"55P03", "57014", "40P01"})
"""No lock in time, no end in time, deadlock."""
_OF_MONTH = re.compile(r"job_history_([0-9]{4})_([0-9]{2})", re.ASCII)

_TIMEOUTS = (
    text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"),
    text(f"SET LOCAL statement_timeout = {STEP_TIMEOUT_MS}"),
)
_PARTITIONS = text(
    """
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
    WHERE inhparent = 'job_history'::regclass
    """
)
_COUNT_OTHER = text(
    """
    SELECT count(*) FROM (
        SELECT FROM job_history_other WHERE occurred_at >= :since AND occurred_at < :until LIMIT :rows_max
    ) AS found
    """
)
_DELETE_OTHER = text(
    """
    DELETE FROM job_history_other WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM job_history_other WHERE occurred_at < :before LIMIT :rows_max
    ))
    """
)
_FIND_DELETED_JOBS = text(
    "SELECT id FROM jobs WHERE deleted_at < :before ORDER BY deleted_at LIMIT :jobs_max FOR UPDATE SKIP LOCKED"
)
_PURGE_JOBS = tuple(
    text(f"DELETE FROM {table} WHERE {column} = ANY(CAST(:job_ids AS uuid[]))")  # noqa: S608 - constants
    for table, column in (("job_history", "job_id"), ("actions", "job_id"), ("jobs", "id"))
)
_PURGE_ACTIONS = text(
    """
    DELETE FROM actions WHERE id = ANY(ARRAY(
        SELECT actions.id FROM actions JOIN jobs ON jobs.id = actions.job_id
        WHERE actions.deleted_at < :before AND jobs.deleted_at IS NULL
        ORDER BY actions.deleted_at LIMIT :rows_max
    ))
    """
)

Step = Callable[[AsyncSession], Awaitable[bool]]
"""One transaction's work; whether there is more of the same to do."""


def retaining(database: Database, *, history_months: int, deleted_days: int) -> Callable[[], Awaitable[None]]:
    """A part's `run`: keep retention until cancelled."""

    async def run() -> None:
        while True:
            done = await run_once(database, datetime.now(UTC), history_months=history_months, deleted_days=deleted_days)
            await asyncio.sleep(PERIOD_SECONDS if done else RETRY_SECONDS)

    return run


async def run_once(database: Database, now: datetime, *, history_months: int, deleted_days: int) -> bool:
    """Do all that is due at this instant; whether nothing was left for later.

    History of this month and of `history_months` full months before it is kept; a deleted job and its history for `deleted_days`.
    """
    this_month = now.astimezone(UTC).date().replace(day=1)
    oldest_kept = _months_from(this_month, -history_months)
    deleted_before = now - timedelta(days=deleted_days)
    async with database.reading() as session:
        names = (await session.execute(_PARTITIONS)).scalars()
        months = {date(int(found[1]), int(found[2]), 1) for name in names if (found := _OF_MONTH.fullmatch(name))}
    wanted = [_months_from(this_month, ahead) for ahead in range(MONTHS_AHEAD + 1)]
    steps: list[tuple[str, Step]] = [
        *((f"add {month:%Y-%m}", _adding(month)) for month in wanted if month not in months),
        *((f"drop {month:%Y-%m}", _dropping(month)) for month in sorted(months) if month < oldest_kept),
        ("delete old history", _deleting_other(oldest_kept)),
        ("purge deleted jobs", _purging_jobs(deleted_before)),
        ("purge deleted actions", _purging_actions(deleted_before)),
    ]
    return all([await _run_step(database, name, step) for name, step in steps])


async def _run_step(database: Database, name: str, step: Step) -> bool:
    """Take a step again and again until there is nothing more to do; False when it has to be tried again later."""
    more = True
    while more:
        try:
            async with database.transaction() as session:
                if not await try_lock(session, AdvisoryLock.JOBS_RETENTION):
                    return False
                for bound in _TIMEOUTS:
                    await session.execute(bound)
                more = await step(session)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _RETRIED_STATES:
                raise
            log.warning("retention_postponed", step=name, retry_seconds=RETRY_SECONDS)
            return False
    return True


def _adding(month: date) -> Step:
    """Make a month's partition, with what `job_history_other` has of it."""
    table, since, until = _table(month), _begin(month), _begin(_months_from(month, 1))
    bounds = {"since": since, "until": until}

    async def step(session: AsyncSession) -> bool:
        if (await session.execute(text("SELECT to_regclass(:table)"), {"table": table})).scalar_one() is not None:
            return False
        count = await session.execute(_COUNT_OTHER, {**bounds, "rows_max": MOVED_ROWS_MAX + 1})
        if count.scalar_one() > MOVED_ROWS_MAX:
            log.warning("history_without_partition", month=f"{month:%Y-%m}", rows_min=MOVED_ROWS_MAX)
            return False
        # The locks that attaching needs, before anything is done under them: writers into other partitions go on all the while.
        await session.execute(text("LOCK TABLE ONLY job_history IN SHARE UPDATE EXCLUSIVE MODE"))
        await session.execute(text("LOCK TABLE job_history_other IN ACCESS EXCLUSIVE MODE"))
        await session.execute(text(f"CREATE TABLE {table} (LIKE job_history INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
        moved = "DELETE FROM job_history_other WHERE occurred_at >= :since AND occurred_at < :until RETURNING *"
        await session.execute(text(f"WITH moved AS ({moved}) INSERT INTO {table} SELECT * FROM moved"), bounds)  # noqa: S608
        values = f"FROM ('{since.isoformat()}') TO ('{until.isoformat()}')"
        await session.execute(text(f"ALTER TABLE job_history ATTACH PARTITION {table} FOR VALUES {values}"))
        log.info("history_partition_added", table=table)
        return False

    return step


def _dropping(month: date) -> Step:
    async def step(session: AsyncSession) -> bool:
        await session.execute(text(f"DROP TABLE IF EXISTS {_table(month)}"))
        log.info("history_partition_dropped", table=_table(month))
        return False

    return step


def _deleting_other(oldest_kept: date) -> Step:
    async def step(session: AsyncSession) -> bool:
        values = {"before": _begin(oldest_kept), "rows_max": DELETED_ROWS_MAX}
        deleted = await session.execute(_DELETE_OTHER, values)
        return _rows(deleted) == DELETED_ROWS_MAX

    return step


def _purging_jobs(before: datetime) -> Step:
    async def step(session: AsyncSession) -> bool:
        # Skipping those that somebody holds: they may be about to be restored.
        found = await session.execute(_FIND_DELETED_JOBS, {"before": before, "jobs_max": PURGED_JOBS_MAX})
        job_ids = list(found.scalars())
        for purge in _PURGE_JOBS if job_ids else ():
            await session.execute(purge, {"job_ids": job_ids})
        return len(job_ids) == PURGED_JOBS_MAX

    return step


def _purging_actions(before: datetime) -> Step:
    async def step(session: AsyncSession) -> bool:
        purged = await session.execute(_PURGE_ACTIONS, {"before": before, "rows_max": DELETED_ROWS_MAX})
        return _rows(purged) == DELETED_ROWS_MAX

    return step


def _rows(result: Result[*tuple[Any, ...]]) -> int:
    return int(result.rowcount)  # type: ignore[attr-defined]


def _table(month: date) -> str:
    return f"job_history_{month:%Y_%m}"


def _begin(month: date) -> datetime:
    return datetime.combine(month, time(), UTC)


def _months_from(month: date, count: int) -> date:
    years, place = divmod(month.year * 12 + month.month - 1 + count, 12)
    return date(years, place + 1, 1)
