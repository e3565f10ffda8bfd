"""The table of audit events."""

from sqlalchemy import Identity, Index
from sqlmodel import Field

from billing.registry import Base
from shared.id_columns import TenantId
from shared.postgres.column_types import BigInt, Instant, Json, Text


class AuditRow(Base, table=True):
    """Who changed a subscription, from which address. Written in the transaction of the change, never updated."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "tenant_id", "id"),)

    id: BigInt | None = Field(default=None, primary_key=True, sa_column_args=(Identity(always=True),))
    tenant_id: TenantId
    actor: Text
    address: Text | None = None
    action: Text
    subject: Text
    before: Json
    after: Json
    at: Instant
