"""Invitations in the API."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints
from pydantic import Field as ApiField

from identity import fields
from identity.authentication import Person
from identity.invitations.rules import InvitationStatus
from shared.api import Input, Secret

TOKEN_LENGTH_MAX = 128


class InvitationIn(Input):
    """An invitation token and a first password."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=TOKEN_LENGTH_MAX)]
    password: fields.Password


class Invitation(BaseModel):
    """An invitation of somebody who has no password yet."""

    object: Literal["invitation"] = "invitation"
    id: str
    person: Person = ApiField(description="Who is invited.")
    status: InvitationStatus = ApiField(description="Whether it can be accepted.")
    invited_at: datetime = ApiField(description="When the person was invited first.")
    invitation_expires_at: datetime | None = ApiField(description="When it expires; null: it was withdrawn.")


class SentInvitation(Secret, Invitation):
    """An invitation that was sent again; the token of before is dead."""

    invitation_token: str | None = ApiField(
        description="With it the person sets a password; it is not shown again. Null when it was sent by mail."
    )

    @property
    def no_store(self) -> bool:
        return self.invitation_token is not None


class AcceptedInvitation(BaseModel):
    """The person who has set a password."""

    object: Literal["accepted_invitation"] = "accepted_invitation"
    principal: Person
