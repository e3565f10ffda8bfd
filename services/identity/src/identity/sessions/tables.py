"""The tables of sessions and refresh tokens."""

from sqlmodel import Field

from identity.registry import Base
from shared.id_columns import SessionId, TenantId
from shared.postgres.column_types import Instant, Text


class SessionRow(Base, table=True):
    """A session: it lasts until it is ended or expires. It was last seen when it got its latest token."""

    __tablename__ = "sessions"

    session_id: SessionId = Field(primary_key=True)
    tenant_id: TenantId = Field(index=True, foreign_key="tenants.tenant_id")
    subject_id: Text = Field(index=True)
    created_at: Instant
    expires_at: Instant = Field(index=True)
    ended_at: Instant | None
    address: Text
    user_agent: Text
    last_seen_at: Instant
    stepped_up_at: Instant | None


class RefreshTokenRow(Base, table=True):
    """A refresh token of a session. Used tokens stay, so that the use of a stolen one is noticed."""

    __tablename__ = "refresh_tokens"

    digest: bytes = Field(primary_key=True)
    session_id: SessionId = Field(index=True, foreign_key="sessions.session_id", ondelete="CASCADE")
    used_at: Instant | None
