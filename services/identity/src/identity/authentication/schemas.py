"""Log-ins, sessions, invitations and passwords in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints
from pydantic import Field as ApiField

from identity import fields
from shared.api import Input, Secret
from shared.fields.contact import EMAIL_CHARS_MAX
from shared.fields.text import Name

TOKEN_LENGTH_MAX = 128
PersonKind = Literal["owner", "staff", "merchant"]


class SessionIn(Input):
    """A log-in."""

    email: Annotated[str, StringConstraints(min_length=1, max_length=EMAIL_CHARS_MAX)]
    password: fields.PasswordTry
    code: fields.OptionalCode = None
    tenant: Name = ApiField(description="Id or name of the tenant.")


class RefreshIn(Input):
    """The refresh token of the latest answer."""

    refresh_token: Annotated[str, StringConstraints(min_length=1, max_length=TOKEN_LENGTH_MAX)]


class PasswordIn(Input):
    """The present password and the new one."""

    current_password: fields.PasswordTry
    new_password: fields.Password
    code: fields.OptionalCode = None


class PasswordAgain(Input):
    """Base of what asks for a step-up, and takes a password and a code in place of it."""

    password: fields.PasswordAgain = None
    code: fields.OptionalCode = None


class StepUpIn(Input):
    """The password, given again, with a code of the second factor, where there is one."""

    password: fields.PasswordTry
    code: fields.OptionalCode = None


class StepUp(Secret):
    """A session token that opens what asks for the password again."""

    object: Literal["step_up"] = "step_up"
    token: str = ApiField(description="Send it as `Authorization: Bearer`, in place of the session's token of before.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_at: datetime = ApiField(description="When the token expires; renew the session as ever.")
    stepped_up_until: datetime = ApiField(
        description="Until when this session is stepped up; the tokens of a renewal are, too."
    )


class Person(BaseModel):
    """The user or merchant who has logged in."""

    id: str
    kind: PersonKind = ApiField(description="Who it is.")
    tenant_id: str
    email: str
    name: str


class Session(Secret):
    """A session with its token and its refresh token."""

    object: Literal["session"] = "session"
    id: str
    token: str = ApiField(description="Send it as `Authorization: Bearer`.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_at: datetime = ApiField(description="When the token expires.")
    refresh_token: str = ApiField(description="Valid once, for the next token.")
    refresh_expires_at: datetime = ApiField(description="When the session expires.")
    principal: Person
    livemode: bool
