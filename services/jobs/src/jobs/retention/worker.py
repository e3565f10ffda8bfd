"""Deletes monthly partitions of history, and deleted jobs and actions, after their retention. Creates the partitions of coming months."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Result, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.chassis.parts import periodically
from shared.postgres.advisory_locks import AdvisoryLock
from shared.postgres.database import Database
from shared.postgres.partitions import MONTHS, PartitionedTable, PartitionMaintenance, Step

PERIOD_SECONDS = 3600.0
RETRY_SECONDS = 60.0
MONTHS_AHEAD = 3
PURGED_JOBS_MAX = 50
"""Jobs purged in one transaction; each can have hundreds of actions."""
PURGED_ACTIONS_MAX = 5_000
"""Actions purged in one transaction."""

HISTORY = PartitionedTable("job_history", "occurred_at", "job_history_other")

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


def retaining(database: Database, *, history_months: int, deleted_days: int) -> Callable[[], Awaitable[None]]:
    """The `run` of a background part: applies retention until cancelled."""

    async def work() -> float | None:
        now = datetime.now(UTC)
        done = await run_once(database, now, history_months=history_months, deleted_days=deleted_days)
        return None if done else RETRY_SECONDS

    return periodically(work, PERIOD_SECONDS)


async def run_once(database: Database, now: datetime, *, history_months: int, deleted_days: int) -> bool:
    """Delete everything that is due at `now`; returns False if a step must be retried.

    History is kept for the current month and `history_months` full months before it, a deleted job with its history for `deleted_days`.
    """
    maintenance = PartitionMaintenance(database, AdvisoryLock.JOBS_RETENTION, [HISTORY], MONTHS, ahead=MONTHS_AHEAD)
    deleted_before = now - timedelta(days=deleted_days)
    return all(
        [
            await maintenance.run_once(now, kept=history_months),
            await maintenance.run_step("purge deleted jobs", _purging_jobs(deleted_before)),
            await maintenance.run_step("purge deleted actions", _purging_actions(deleted_before)),
        ]
    )


def _purging_jobs(before: datetime) -> Step:
    async def step(session: AsyncSession) -> bool:
        # Locked jobs are skipped: they can be about to be restored.
        found = await session.execute(_FIND_DELETED_JOBS, {"before": before, "jobs_max": PURGED_JOBS_MAX})
        job_ids = list(found.scalars())
        for purge in _PURGE_JOBS if job_ids else ():
            await session.execute(purge, {"job_ids": job_ids})
        return len(job_ids) == PURGED_JOBS_MAX

    return step


def _purging_actions(before: datetime) -> Step:
    async def step(session: AsyncSession) -> bool:
        purged = await session.execute(_PURGE_ACTIONS, {"before": before, "rows_max": PURGED_ACTIONS_MAX})
        return _rows(purged) == PURGED_ACTIONS_MAX

    return step


def _rows(result: Result[*tuple[Any, ...]]) -> int:
    return int(result.rowcount)  # type: ignore[attr-defined]
