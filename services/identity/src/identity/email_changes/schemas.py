"""E-mail changes in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints
from pydantic import Field as ApiField

from identity import fields
from identity.authentication import PasswordAgain, Person
from shared.api import Input

TOKEN_LENGTH_MAX = 128


class EmailChangeIn(PasswordAgain):
    """The new address, and the password, unless the session is stepped up."""

    email: fields.LoginEmail


class EmailChange(BaseModel):
    """A change of one's own address."""

    object: Literal["email_change"] = "email_change"
    email: str = ApiField(description="The address that is in force.", examples=["ada@example.com"])
    pending_email: str | None = ApiField(
        description="The address that takes its place once the mail to it was answered; null: it has done so already.",
        examples=["ada.lovelace@example.com"],
    )
    pending_email_expires_at: datetime | None = ApiField(description="Until when that mail can be answered.")


class EmailChangeConfirmation(Input):
    """The token from the mail to the new address."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=TOKEN_LENGTH_MAX)]


class ConfirmedEmailChange(BaseModel):
    """The person whose address was changed, and who can log in with it now."""

    object: Literal["confirmed_email_change"] = "confirmed_email_change"
    principal: Person
