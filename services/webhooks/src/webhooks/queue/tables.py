"""Tables of the queue: due deliveries and batch leases."""

from uuid import UUID

from sqlalchemy import CheckConstraint, Index, PrimaryKeyConstraint, text
from sqlmodel import Field

from shared.postgres.column_types import BigInt, Instant, SmallInt, Text, UuidArray
from webhooks.registry import Base


class DeliveryDueRow(Base, table=True):
    """A delivery that is due. Finished deliveries and those of a batch lease have no row here."""

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

    event_id: UUID
    endpoint_id: UUID
    due_at: Instant
    """Infinity: waits for an earlier delivery of its subject."""
    lease_token: BigInt | None = None
    position: BigInt | None = None
    attempts_before: SmallInt = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Attempts of earlier rounds: a redelivery starts the retry schedule again."""
    retry: bool
    subject: Text | None = None
    """Set only for endpoints that are ordered by job."""


class BatchLeaseRow(Base, table=True):
    """A batch lease: the first attempts that one worker holds in memory, as pairs of event and endpoint, until all are recorded."""

    __tablename__ = "flights"
    __table_args__ = (
        CheckConstraint("cardinality(event_ids) = cardinality(endpoint_ids)", name="pairs"),
        CheckConstraint("token > 0", name="token"),
    )

    token: BigInt = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    lease_until: Instant
    event_ids: UuidArray
    endpoint_ids: UuidArray
