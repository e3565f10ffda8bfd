"""Deletes expired sessions, in every replica, at intervals."""

from datetime import UTC, datetime

from identity import sessions
from shared.postgres.database import Database

PURGE_SECONDS = 300.0
"""From the end of one deletion to the start of the next."""
PURGED_ROWS_MAX = 1_000
"""Sessions that one deletion removes."""


async def purge_sessions(database: Database) -> None:
    """Delete expired sessions, `PURGED_ROWS_MAX` at most."""
    async with database.transaction() as session:
        await sessions.delete_expired(session, datetime.now(UTC), PURGED_ROWS_MAX)
