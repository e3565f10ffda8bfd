"""User and platform API keys: the table and the API's shapes."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField
from sqlalchemy import CheckConstraint, Column, Index, SmallInteger, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from identity.models import fields, registry
from shared.api import Input
from shared.timestamps import Timestamp


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


class ApiKeyIn(Input):
    """What makes a user API key: it can only narrow what its owner may do."""

    name: fields.Name = ApiField(examples=["ERP"])
    scopes: fields.PermissionCodes = ApiField(
        min_length=1, description="Only what you hold yourself.", examples=[["orders"]]
    )
    expires_at: Timestamp | None = ApiField(None, description="Null: until it is revoked.")
    livemode: bool | None = ApiField(None, description="Must be the tenant's own mode, which is the default.")


class ApiKey(BaseModel):
    """A user API key; the key itself is shown once, when it is made."""

    object: Literal["api_key"] = "api_key"
    id: str
    tenant_id: str
    user_id: str
    name: str
    scopes: list[str]
    hint: str = ApiField(description="Enough of the key to recognise it.")
    status: str = ApiField(description="active or revoked.")
    expires_at: datetime | None
    last_used_at: fields.LastUsedAt
    livemode: bool
    created_at: datetime
    updated_at: datetime
    version: int


class NewApiKey(ApiKey):
    """A new user API key."""

    api_key: str = ApiField(description="The key. It is not shown again.")


class PermissionEntry(BaseModel):
    """One permission of the catalogue."""

    code: str
    description: str
    relevance: str = ApiField(description="dashboard, dashboard_and_api or platform.")


class PermissionCatalog(BaseModel):
    """All permissions that there are."""

    object: Literal["permission_catalog"] = "permission_catalog"
    data: list[PermissionEntry]
