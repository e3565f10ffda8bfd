"""Logins, sessions, refresh tokens: the tables and the API's shapes."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, StringConstraints
from pydantic import Field as ApiField
from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, LargeBinary, Text
from sqlmodel import Field

from identity.models import fields, registry
from shared.api import Input, Secret
from shared.postgres.tables import TypedId

TOKEN_LENGTH_MAX = 128


class LoginRow(registry.Base, table=True):
    """How a person, administrator or merchant, comes in: one e-mail address is one person in a tenant."""

    __tablename__ = "logins"
    __table_args__ = (CheckConstraint("kind IN ('user', 'merchant')", name="kind"),)

    tenant_id: str = Field(sa_column=Column(TypedId("ten"), ForeignKey("tenants.tenant_id"), primary_key=True))
    email_key: str = Field(sa_column=Column(Text, primary_key=True))
    subject_id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    kind: str = Field(sa_column=registry.words())
    password_hash: str | None = Field(sa_column=registry.words(nullable=True))
    invitation_digest: bytes | None = Field(sa_column=Column(LargeBinary, unique=True))
    invitation_expires_at: datetime | None = Field(sa_column=registry.instant(nullable=True))


class SessionRow(registry.Base, table=True):
    """A log-in, until it is ended or too old."""

    __tablename__ = "sessions"

    session_id: str = Field(sa_column=registry.key("ses"))
    tenant_id: str = Field(sa_column=registry.reference("ten", to="tenants.tenant_id"))
    subject_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    created_at: datetime = Field(sa_column=registry.instant())
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, index=True))
    ended_at: datetime | None = Field(sa_column=registry.instant(nullable=True))


class RefreshTokenRow(registry.Base, table=True):
    """One refresh token of a session; those used before are kept, to notice that somebody else has one."""

    __tablename__ = "refresh_tokens"

    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    session_id: str = Field(
        sa_column=Column(
            TypedId("ses"), ForeignKey("sessions.session_id", ondelete="CASCADE"), nullable=False, index=True
        )
    )
    used_at: datetime | None = Field(sa_column=registry.instant(nullable=True))


class SessionIn(Input):
    """A person's log-in."""

    email: Annotated[str, StringConstraints(min_length=1, max_length=254)]
    password: fields.PasswordTry
    tenant: Annotated[str, StringConstraints(min_length=1, max_length=120)] = ApiField(
        description="Id or name of the tenant."
    )


class RefreshIn(Input):
    """The refresh token of the last answer."""

    refresh_token: Annotated[str, StringConstraints(min_length=1, max_length=TOKEN_LENGTH_MAX)]


class InvitationIn(Input):
    """An invitation token and the password that its holder chooses."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=TOKEN_LENGTH_MAX)]
    password: fields.Password


class PasswordIn(Input):
    """The present password and the next one."""

    current_password: fields.PasswordTry
    new_password: fields.Password


class Principal(BaseModel):
    """Who has come in."""

    id: str
    kind: str = ApiField(description="owner, staff or merchant.")
    tenant_id: str
    email: str
    name: str


class Session(Secret):
    """A session: its running token, and what renews it."""

    object: Literal["session"] = "session"
    id: str
    token: str = ApiField(description="Send it as `Authorization: Bearer`.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_at: datetime = ApiField(description="End of the token.")
    refresh_token: str = ApiField(description="Good once, for the next token.")
    refresh_expires_at: datetime = ApiField(description="End of the session.")
    principal: Principal
    livemode: bool


class AcceptedInvitation(BaseModel):
    """The person whose password is now set."""

    object: Literal["accepted_invitation"] = "accepted_invitation"
    principal: Principal
