"""The table of API keys."""

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import ApiKeyId, TenantId, UserId
from shared.postgres.column_types import BigInt, Instant, SmallInt, Text, TextArray


class ApiKeyRow(Base, table=True):
    """An API key of a user or of the platform. Only its digest is stored."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("kind IN ('user_key', 'platform_key')", name="kind"),
        CheckConstraint("(kind = 'user_key') = (tenant_id IS NOT NULL AND user_id IS NOT NULL)", name="holder"),
        Index("ix_api_keys_page", "tenant_id", "created_at", "key_id"),
    )

    key_id: ApiKeyId = Field(primary_key=True)
    version: BigInt
    kind: Text
    tenant_id: TenantId | None = Field(foreign_key="tenants.tenant_id")
    user_id: UserId | None = Field(foreign_key="users.user_id")
    parent_id: ApiKeyId | None = Field(default=None, foreign_key="api_keys.key_id", index=True)
    """The key that made this one; none in a session."""
    name: Text
    scopes: TextArray
    digest: Text
    pepper_version: SmallInt
    hint: Text
    livemode: bool
    expires_at: Instant | None
    revoked_at: Instant | None
    last_used_at: Instant | None
    created_at: Instant
    updated_at: Instant
