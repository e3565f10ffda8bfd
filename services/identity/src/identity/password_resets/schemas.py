"""Password resets in the API."""

from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints
from pydantic import Field as ApiField

from identity import fields
from identity.authentication import Person
from shared.api import Input
from shared.fields.contact import EMAIL_CHARS_MAX
from shared.fields.text import Name

TOKEN_LENGTH_MAX = 128


class PasswordResetIn(Input):
    """The account whose password was forgotten."""

    email: Annotated[str, StringConstraints(min_length=1, max_length=EMAIL_CHARS_MAX)]
    tenant: Name = ApiField(description="Id or name of the tenant.")


class PasswordResetRequest(BaseModel):
    """The request was taken. It is answered so for every account, and every invented one."""

    object: Literal["password_reset_request"] = "password_reset_request"
    valid_seconds: int = ApiField(
        description="If there is such an account, it gets a mail whose token is valid for so long.", examples=[1200]
    )


class PasswordResetConfirmation(Input):
    """The token from the mail, and a new password."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=TOKEN_LENGTH_MAX)]
    password: fields.Password


class PasswordReset(BaseModel):
    """The person whose password was set, and who can log in now."""

    object: Literal["password_reset"] = "password_reset"
    principal: Person
