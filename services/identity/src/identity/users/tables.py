"""The table of users."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Column, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from identity import registry


class UserRow(registry.Base, table=True):
    """An administrator. Who has the login e-mail and the password is in `logins`."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("kind IN ('owner', 'staff')", name="kind"),
        CheckConstraint("status IN ('invited', 'active', 'disabled')", name="status"),
        # An owner's permissions are computed: nothing stored can reduce or outlive them.
        CheckConstraint("kind <> 'owner' OR (permissions = '{}' AND status <> 'disabled')", name="owner"),
        Index("ix_users_owner", "tenant_id", unique=True, postgresql_where=text("kind = 'owner'")),
        Index("ix_users_page", "tenant_id", "created_at", "user_id"),
    )

    user_id: str = Field(sa_column=registry.key("usr"))
    tenant_id: str = Field(sa_column=registry.reference("ten", to="tenants.tenant_id"))
    version: int = Field(sa_column=registry.version())
    kind: str = Field(sa_column=registry.words())
    email: str = Field(sa_column=registry.words())
    first_name: str = Field(sa_column=registry.words())
    last_name: str = Field(sa_column=registry.words())
    status: str = Field(sa_column=registry.words())
    permissions: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    sessions_valid_from: datetime = Field(sa_column=registry.instant())
    livemode: bool = Field(sa_column=registry.yes_or_no())
    created_at: datetime = Field(sa_column=registry.instant())
    updated_at: datetime = Field(sa_column=registry.instant())
