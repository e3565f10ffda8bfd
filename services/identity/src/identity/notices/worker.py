"""Forgets old events, in every replica, at intervals."""

from datetime import UTC, datetime

from identity import notices
from shared.postgres.database import Database

PURGE_SECONDS = 3600.0
"""From the end of one deletion to the start of the next."""


async def purge_mailed_events(database: Database) -> None:
    """Delete events that are too old to be told of."""
    async with database.transaction() as session:
        await notices.delete_mailed_events(session, datetime.now(UTC))
