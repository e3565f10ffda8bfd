"""Users and their permissions in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity import fields
from shared.api import Input


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
