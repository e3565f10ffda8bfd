"""The table of audit events."""

from sqlalchemy import Index, text
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import AuditEventId, TenantId
from shared.postgres.column_types import Instant, Json, Text


class AuditRow(Base, table=True):
    """Who did what to which record of which service, from which address. Never updated."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_page", "tenant_id", "created_at", "audit_id"),
        Index("ix_audit_events_target", "tenant_id", "target", "created_at"),
        Index("ix_audit_events_actor", "tenant_id", "actor", "created_at"),
    )

    audit_id: AuditEventId = Field(primary_key=True)
    service: Text = Field(sa_column_kwargs={"server_default": text("'identity'")})
    tenant_id: TenantId | None
    created_at: Instant
    actor: Text
    actor_kind: Text
    via: Text
    credential_id: Text | None
    action: Text
    target: Text
    address: Text
    request_id: Text
    before: Json | None
    after: Json | None
