"""Users and their permissions in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from identity import fields
from identity.logins import WithEmailChange, WithInvitation
from identity.mail import LANGUAGE_DESCRIPTION, Language
from shared.api import Input
from shared.fields.merge_patch import Patch
from shared.fields.text import PersonName

UserStatus = Literal["invited", "active", "disabled"]
UserKind = Literal["owner", "staff"]


class StaffIn(Input):
    """A member of staff to create. Without a password the answer has an invitation token."""

    email: fields.LoginEmail
    first_name: PersonName
    last_name: PersonName
    language: Language | None = ApiField(None, description=LANGUAGE_DESCRIPTION)
    permissions: fields.PermissionCodes = ApiField(description="Only permissions that you hold.", examples=[["orders"]])
    password: fields.Password | None = None


class StaffPatch(Patch):
    """Fields of a member of staff to change. Permissions have their own route."""

    email: Annotated[fields.LoginEmail | None, fields.KEPT_IF_ABSENT] = None
    first_name: Annotated[PersonName | None, fields.KEPT_IF_ABSENT] = None
    last_name: Annotated[PersonName | None, fields.KEPT_IF_ABSENT] = None
    language: Language | None = None


class StaffPermissionsIn(Input):
    """The new permissions; they replace all others."""

    permissions: fields.PermissionCodes = ApiField(examples=[["orders", "settings.webhooks.read"]])


class User(BaseModel):
    """An owner or a member of staff."""

    object: Literal["user"] = "user"
    id: str
    tenant_id: str
    kind: UserKind
    email: str
    first_name: str
    last_name: str
    language: Language | None
    email_refused_at: datetime | None
    email_refusal: str | None
    status: UserStatus
    permissions: list[str] = ApiField(description="As granted. An owner has all permissions, whatever this list says.")
    livemode: bool
    created_at: datetime
    updated_at: datetime
    version: int


class CreatedUser(WithInvitation, User):
    """A new member of staff."""


class ChangedUser(WithEmailChange, User):
    """A member of staff after a change."""


class StaffPermissions(BaseModel):
    """What one user may do."""

    object: Literal["staff_permissions"] = "staff_permissions"
    user_id: str
    is_owner: bool
    permissions: list[str] = ApiField(description="As granted.")
    scopes: list[str] = ApiField(description="All codes that the granted ones include.")
    version: int
