"""The inbox: which events a consumer has taken already, for effects that an upsert guarded by version cannot make harmless."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Column, DateTime, Index, MetaData, Table, Text, Uuid, func, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.errors import Invalid
from shared.ids import from_uuid, to_uuid
from shared.postgres.database import Database

PURGE_ROWS_MAX = 5000

# In the order of the key, so that two consumers that meet the same events wait for each other instead of deadlocking.
_CLAIM = text(
    """
    INSERT INTO inbox (consumer, event_id)
    SELECT :consumer, event_id FROM unnest(CAST(:event_ids AS uuid[])) AS event_id ORDER BY event_id
    ON CONFLICT DO NOTHING RETURNING event_id
    """
)
_PURGE = text(
    """
    DELETE FROM inbox WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM inbox WHERE received_at < now() - CAST(:older_than AS interval) ORDER BY received_at LIMIT :rows_max
    ))
    """
)


def add_tables(metadata: MetaData) -> None:
    """Make the inbox part of a service's own metadata."""
    inbox = Table(
        "inbox",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("event_id", Uuid, primary_key=True),
        Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )
    Index(None, inbox.c.received_at)


async def claim(session: AsyncSession, consumer: str, event_ids: Sequence[str]) -> set[str]:
    """Those of the events that this consumer has not taken before; taken from now on, if the transaction commits.

    Waits for a transaction that claims the same event at this moment. Raises `Invalid` when an id is not one of ours.
    """
    if not event_ids:
        return set()
    try:
        unique = {to_uuid(event_id) for event_id in event_ids}
    except ValueError as error:
        raise Invalid(f"not an event id: {error}") from error
    rows = await session.execute(_CLAIM, {"consumer": consumer, "event_ids": list(unique)})
    return {from_uuid("evt", event_id) for (event_id,) in rows}


async def purge(database: Database, *, older_than: timedelta, rows_max: int = PURGE_ROWS_MAX) -> int:
    """Forget at most `rows_max` of the oldest claims; how many it was. Keep them longer than Kafka keeps the events."""
    async with database.transaction() as session:
        result = await session.execute(_PURGE, {"older_than": older_than, "rows_max": rows_max})
        return int(result.rowcount)  # type: ignore[attr-defined]
