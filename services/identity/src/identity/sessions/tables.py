"""The tables of sessions and refresh tokens."""

from datetime import datetime

from sqlalchemy import Column, DateTime, ForeignKey, LargeBinary, Text
from sqlmodel import Field

from identity import registry
from shared.postgres.tables import TypedId


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
