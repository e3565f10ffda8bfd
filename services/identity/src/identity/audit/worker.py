"""Deletes old audit events, in every replica, at intervals."""

from datetime import UTC, datetime, timedelta

from identity import audit
from shared.postgres.database import Database

PURGE_SECONDS = 300.0
"""From the end of one deletion to the start of the next."""
PURGED_ROWS_MAX = 2_000
"""Audit events that one transaction deletes."""


async def purge_audit_events(database: Database, *, kept_days: int) -> None:
    """Delete all audit events that are older than this."""
    before = datetime.now(UTC) - timedelta(days=kept_days)
    deleted = PURGED_ROWS_MAX
    while deleted == PURGED_ROWS_MAX:
        async with database.transaction() as session:
            deleted = await audit.delete_older(session, before, PURGED_ROWS_MAX)
