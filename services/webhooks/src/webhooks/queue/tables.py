"""Rows of the queue: what is due, and batch leases."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlmodel import Field

from webhooks.registry import Base, instant_column


class DeliveryDueRow(Base, table=True):
    """The queue: narrow, and empty of everything that is finished or under way as part of a flight."""

    __tablename__ = "delivery_due"
    __table_args__ = (
        PrimaryKeyConstraint("event_id", "endpoint_id"),
        Index("ix_delivery_due_queue", "retry", "endpoint_id", "due_at"),
        Index(
            "ix_delivery_due_order", "endpoint_id", "subject", "position", postgresql_where=text("subject IS NOT NULL")
        ),
        CheckConstraint("lease_token > 0", name="lease_token"),
        CheckConstraint("(subject IS NULL) = (position IS NULL)", name="order"),
    )

    event_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    endpoint_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    due_at: datetime = Field(sa_column=instant_column(nullable=False))
    """Infinity: waits for an earlier one of its subject."""
    lease_token: int | None = Field(default=None, sa_column=Column(BigInteger))
    position: int | None = Field(default=None, sa_column=Column(BigInteger))
    attempts_before: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default=text("0")))
    """Attempts of earlier rounds: the schedule begins anew when a delivery is sent again."""
    retry: bool = Field(sa_column=Column(Boolean, nullable=False))
    subject: str | None = Field(default=None, sa_column=Column(Text))
    """Of endpoints that are ordered by job alone."""


class FlightRow(Base, table=True):
    """First attempts of one batch in one worker's memory: pairs of event and endpoint, until all of them are recorded."""

    __tablename__ = "flights"
    __table_args__ = (
        CheckConstraint("cardinality(event_ids) = cardinality(endpoint_ids)", name="pairs"),
        CheckConstraint("token > 0", name="token"),
    )

    token: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    lease_until: datetime = Field(sa_column=instant_column(nullable=False))
    event_ids: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
    endpoint_ids: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
