"""Deletes what is old of the request log, in every replica, at intervals."""

from datetime import UTC, datetime, timedelta

from identity import request_log
from shared.postgres.database import Database

PURGE_SECONDS = 300.0
"""From the end of one deletion to the start of the next."""
PURGED_ROWS_MAX = 2_000
"""Rows of each table that one transaction deletes."""


async def purge_request_log(database: Database, *, kept_days: int) -> None:
    """Delete all that is older than this."""
    before = datetime.now(UTC) - timedelta(days=kept_days)
    more = True
    while more:
        async with database.transaction() as session:
            more = await request_log.delete_older(session, before, PURGED_ROWS_MAX)
