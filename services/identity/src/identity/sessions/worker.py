"""Deletes expired sessions at intervals."""

from datetime import UTC, datetime

from identity import sessions
from shared.postgres.database import Database

PURGED_ROWS_MAX = 1_000


async def purge_sessions(database: Database) -> None:
    """Forget sessions whose time is over, a bounded number of them."""
    async with database.transaction() as session:
        await sessions.delete_expired(session, datetime.now(UTC), PURGED_ROWS_MAX)
