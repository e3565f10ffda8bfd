"""Users (the owner and staff): the table and the API's shapes."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField
from sqlalchemy import CheckConstraint, Column, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from identity.models import fields, registry
from shared.api import Input


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


class StaffIn(Input):
    """A new member of staff. Without a password an invitation token is returned."""

    email: fields.Email
    first_name: fields.PersonName
    last_name: fields.PersonName
    permissions: fields.PermissionCodes = ApiField(description="Only what you hold yourself.", examples=[["orders"]])
    password: fields.Password | None = None


class StaffPatch(Input):
    """What can change about a member of staff; permissions have a route of their own."""

    email: Annotated[fields.Email | None, fields.KEPT_IF_ABSENT] = None
    first_name: Annotated[fields.PersonName | None, fields.KEPT_IF_ABSENT] = None
    last_name: Annotated[fields.PersonName | None, fields.KEPT_IF_ABSENT] = None


class StaffPermissionsIn(Input):
    """The whole new set."""

    permissions: fields.PermissionCodes = ApiField(examples=[["orders", "settings.webhooks.read"]])


class User(BaseModel):
    """An owner or a member of staff."""

    object: Literal["user"] = "user"
    id: str
    tenant_id: str
    kind: str = ApiField(description="owner or staff.")
    email: str
    first_name: str
    last_name: str
    status: str = ApiField(description="invited, active or disabled.")
    permissions: list[str] = ApiField(description="As granted; an owner has all of them, whatever is listed.")
    livemode: bool
    created_at: datetime
    updated_at: datetime
    version: int


class NewUser(User):
    """A new member of staff."""

    invitation_token: str | None = ApiField(description="To set a password with; null when one was given.")
    invitation_expires_at: datetime | None


class StaffPermissions(BaseModel):
    """What one user may do."""

    object: Literal["staff_permissions"] = "staff_permissions"
    user_id: str
    is_owner: bool
    permissions: list[str] = ApiField(description="As granted.")
    scopes: list[str] = ApiField(description="Everything that follows from them, sections and children.")
    version: int
