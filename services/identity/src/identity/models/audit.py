"""The audit trail: the table and the API's shape."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField
from sqlalchemy import Index
from sqlmodel import Field

from identity.models import registry


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


class AuditEvent(BaseModel):
    """Who did what to which record."""

    object: Literal["audit_event"] = "audit_event"
    id: str
    tenant_id: str | None
    created_at: datetime
    actor: str = ApiField(description="Id of the user, merchant or key.")
    actor_kind: str = ApiField(description="platform, owner, staff, merchant or operator.")
    via: str = ApiField(
        description="session, merchant_session, user_key, platform_key, password, invitation, refresh_token or command."
    )
    action: str = ApiField(description="What was done, named like the event: merchant.updated.")
    target: str = ApiField(description="Id of the record.")
    address: str = ApiField(description="Network address that the request came from.")
    request_id: str
    before: dict[str, Any] | None = ApiField(description="Former values of what changed; never a secret.")
    after: dict[str, Any] | None = ApiField(description="New values of what changed; never a secret.")
