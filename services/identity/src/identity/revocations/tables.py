"""The tables of revocations, of what replicas report of them, and of the replicas that are known."""

from sqlalchemy import Index
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import EventId, RevocationId, TenantId
from shared.postgres.column_types import Instant, Text


class RevocationRow(Base, table=True):
    """A change that ended access. Kept for a day."""

    __tablename__ = "revocations"
    __table_args__ = (Index("ix_revocations_tenant", "tenant_id", "revoked_at"),)

    revocation_id: RevocationId = Field(primary_key=True)
    tenant_id: TenantId | None
    revoked_by: Text
    action: Text
    target: Text
    event_count: int
    revoked_at: Instant = Field(index=True)


class AcknowledgementRow(Base, table=True):
    """Since when one replica refuses what one event of a revocation has ended."""

    __tablename__ = "revocation_acknowledgements"

    revocation_id: RevocationId = Field(primary_key=True, foreign_key="revocations.revocation_id", ondelete="CASCADE")
    service: Text = Field(primary_key=True)
    replica: Text = Field(primary_key=True)
    event_id: EventId = Field(primary_key=True)
    applied_at: Instant


class ReplicaRow(Base, table=True):
    """A process of a service that decides who may call it, as it was last heard of."""

    __tablename__ = "replicas"

    service: Text = Field(primary_key=True)
    replica: Text = Field(primary_key=True)
    started_at: Instant
    last_heard_at: Instant = Field(index=True)
    stopped_at: Instant | None
