"""Deletes old revocations, in every replica, at intervals."""

from datetime import UTC, datetime
from functools import partial

from identity import revocations
from shared.access.projection import REPORTED_FOR
from shared.chassis.parts import Part, periodically
from shared.postgres.database import Database

PURGE_SECONDS = 300.0
"""From the end of one deletion to the start of the next."""
PURGED_ROWS_MAX = 5_000
"""Revocations, and replicas, that one deletion removes."""


def part(database: Database) -> Part:
    """The part of the process that does it."""
    return Part("revocation purge", periodically(partial(purge_revocations, database), PURGE_SECONDS), role="worker")


async def purge_revocations(database: Database) -> None:
    """Delete what is older than receipts are kept, `PURGED_ROWS_MAX` of each at most."""
    async with database.transaction() as session:
        await revocations.delete_old(session, datetime.now(UTC) - REPORTED_FOR, PURGED_ROWS_MAX)
