"""The table of API keys."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Column, Index, SmallInteger, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from identity import registry


class ApiKeyRow(registry.Base, table=True):
    """A key of a user or of the platform; only its digest is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("kind IN ('user_key', 'platform_key')", name="kind"),
        CheckConstraint("(kind = 'user_key') = (tenant_id IS NOT NULL AND user_id IS NOT NULL)", name="holder"),
        Index("ix_api_keys_page", "tenant_id", "created_at", "key_id"),
    )

    key_id: str = Field(sa_column=registry.key("key"))
    version: int = Field(sa_column=registry.version())
    kind: str = Field(sa_column=registry.words())
    tenant_id: str | None = Field(sa_column=registry.reference("ten", to="tenants.tenant_id", nullable=True))
    user_id: str | None = Field(sa_column=registry.reference("usr", to="users.user_id", nullable=True))
    name: str = Field(sa_column=registry.words())
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    digest: str = Field(sa_column=registry.words())
    pepper_version: int = Field(sa_column=Column(SmallInteger, nullable=False))
    hint: str = Field(sa_column=registry.words())
    livemode: bool = Field(sa_column=registry.yes_or_no())
    expires_at: datetime | None = Field(sa_column=registry.instant(nullable=True))
    revoked_at: datetime | None = Field(sa_column=registry.instant(nullable=True))
    last_used_at: datetime | None = Field(sa_column=registry.instant(nullable=True))
    created_at: datetime = Field(sa_column=registry.instant())
    updated_at: datetime = Field(sa_column=registry.instant())
