"""What a list or a delivery shows of stored events."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import from_uuid
from webhooks.http_client import Message

# By key, event by event: as a join PostgreSQL might read all events. The range leaves out the partitions of other days. The merchant is in
# the body alone; the bodies of a page are parsed in a few milliseconds.
_SUBJECTS = text(
    """
    SELECT e.* FROM unnest(CAST(:ids AS uuid[])) AS wanted (id) CROSS JOIN LATERAL (
        SELECT id, subject, reference, location_ids, CAST(convert_from(body, 'UTF8') AS json) #>> '{data,job,merchant_id}' AS merchant_id
        FROM events WHERE id = wanted.id AND id >= :first AND id <= :last LIMIT 1
    ) e
    """
)
_MESSAGE = text("SELECT body, traceparent, occurred_at FROM events WHERE id = :id LIMIT 1")


@dataclass(frozen=True, slots=True)
class EventSubject:
    """What an event is about."""

    job_id: str
    job_reference: str | None
    merchant_id: str | None
    location_ids: list[str]


async def get_subjects(session: AsyncSession, event_ids: Sequence[UUID]) -> dict[UUID, EventSubject]:
    """What these events are about, by event id; those that are no longer stored are left out."""
    if not event_ids:
        return {}
    values = {"ids": list(event_ids), "first": min(event_ids), "last": max(event_ids)}
    return {
        row.id: EventSubject(
            row.subject, row.reference, row.merchant_id, [from_uuid("loc", one) for one in row.location_ids]
        )
        for row in await session.execute(_SUBJECTS, values)
    }


async def get_message(session: AsyncSession, event_id: UUID) -> Message | None:
    """The event as it is sent; None if it is no longer stored."""
    row = (await session.execute(_MESSAGE, {"id": event_id})).first()
    return None if row is None else Message(from_uuid("evt", event_id), row.body, row.traceparent, row.occurred_at)
