"""Rows of events."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, Index, LargeBinary, Text, Uuid
from sqlmodel import Field

from webhooks.registry import Base, instant_column


class EventRow(Base, table=True):
    """A fact as receivers get it, stored once for all of its deliveries. That its id is here means that it was fanned out."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_feed", "tenant_id", "livemode", "position"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    tenant_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    position: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Order of publication: the storing transaction's number × `POSITIONS_PER_TRANSACTION` + the place in its batch. A reader that takes
    only what lies below the oldest open transaction (`webhooks.fan_out.SETTLED`) sees no gap that is filled later."""
    occurred_at: datetime = Field(sa_column=instant_column(nullable=False))
    livemode: bool = Field(sa_column=Column(Boolean, nullable=False))
    type: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    location_ids: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
    traceparent: str | None = Field(default=None, sa_column=Column(Text))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
