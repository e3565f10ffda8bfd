"""Reindexes outdated rows in the background: a few jobs per transaction, with a pause after each. Replicas share the work."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from jobs.search.reindex import reindex_batch
from shared.postgres.database import Database

log = structlog.get_logger(__name__)
PAUSE_SECONDS = 0.05
PERIOD_SECONDS = 60.0
"""Replicas of an older release may still write while a newer one is started."""


def reindexing(database: Database) -> Callable[[], Awaitable[None]]:
    """A part's `run`: file anew what has to be, until cancelled."""

    async def run() -> None:
        while True:
            async with database.transaction() as session:
                filed = await reindex_batch(session)
            if filed:
                log.info("jobs_filed_anew", jobs=filed)
            await asyncio.sleep(PAUSE_SECONDS if filed else PERIOD_SECONDS)

    return run
