"""Reindexes outdated rows in the background: some jobs per transaction, with a pause after each. Replicas share the work."""

from collections.abc import Awaitable, Callable

import structlog

from jobs.search.reindex import reindex_batch
from shared.chassis.parts import periodically
from shared.postgres.database import Database

log = structlog.get_logger(__name__)
PAUSE_SECONDS = 0.05
PERIOD_SECONDS = 60.0
"""Interval of checks: during a deployment, replicas of the older release still write outdated rows."""


def reindexing(database: Database) -> Callable[[], Awaitable[None]]:
    """The `run` of a background part: reindexes outdated rows until cancelled."""

    async def work() -> float | None:
        async with database.transaction() as session:
            reindexed = await reindex_batch(session)
        if not reindexed:
            return None
        log.info("jobs_reindexed", jobs=reindexed)
        return PAUSE_SECONDS

    return periodically(work, PERIOD_SECONDS)
