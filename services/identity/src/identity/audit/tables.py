"""The table of audit events."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from identity import registry


class AuditRow(registry.Base, table=True):
    """Who did what to which record, from where; written in the transaction of the deed and never changed."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_page", "tenant_id", "created_at", "audit_id"),
        Index("ix_audit_events_target", "tenant_id", "target", "created_at"),
        Index("ix_audit_events_actor", "tenant_id", "actor", "created_at"),
    )

    audit_id: str = Field(sa_column=registry.key("aud"))
    tenant_id: str | None = Field(sa_column=registry.reference("ten", nullable=True))
    created_at: datetime = Field(sa_column=registry.instant())
    actor: str = Field(sa_column=registry.words())
    actor_kind: str = Field(sa_column=registry.words())
    via: str = Field(sa_column=registry.words())
    action: str = Field(sa_column=registry.words())
    target: str = Field(sa_column=registry.words())
    address: str = Field(sa_column=registry.words())
    request_id: str = Field(sa_column=registry.words())
    before: dict[str, Any] | None = Field(sa_column=registry.document(nullable=True))
    after: dict[str, Any] | None = Field(sa_column=registry.document(nullable=True))
