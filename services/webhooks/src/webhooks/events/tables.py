"""The table of events."""

from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field

from shared.postgres.column_types import BigInt, Instant, Text, UuidArray
from webhooks.registry import Base


class EventRow(Base, table=True):
    """An event as receivers get it, stored once for all its deliveries. An event with a row was fanned out."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_feed", "tenant_id", "livemode", "position"),
        Index("ix_events_subject", "subject", "id"),
        Index("ix_events_reference", "tenant_id", "reference", "id", postgresql_where=text("reference IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = Field(primary_key=True)
    tenant_id: UUID
    position: BigInt
    """Order of publication: number of the transaction × `POSITIONS_PER_TRANSACTION` + index in the batch. A reader that stops at the
    oldest open transaction (`events.fan_out.SETTLED`) never misses a row."""
    occurred_at: Instant
    livemode: bool
    type: Text
    subject: Text
    reference: Text | None = None
    """The reference of its job after the event; null also for events that were stored before it was kept."""
    location_ids: UuidArray
    traceparent: Text | None = None
    body: bytes
