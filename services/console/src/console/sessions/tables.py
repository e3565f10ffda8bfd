"""The tables of browsers' sessions."""

from sqlmodel import Field

from console.registry import Base
from shared.postgres.column_types import Instant, Json


class BrowserSessionRow(Base, table=True):
    """Who is signed in with a cookie. The cookie is stored as a digest, the tokens of the API encrypted."""

    __tablename__ = "browser_sessions"

    digest: bytes = Field(primary_key=True)
    person: Json
    token: bytes
    token_expires_at: Instant
    refresh_token: bytes
    created_at: Instant
    last_seen_at: Instant
    expires_at: Instant = Field(index=True)
    stepped_up_until: Instant | None


class RefreshRow(Base, table=True):
    """A call that renews a session's tokens, from before it is made until its outcome is stored.

    Where one is left over, its process has died or has had no answer: nobody knows whether the refresh token was used.
    """

    __tablename__ = "refreshes"

    digest: bytes = Field(primary_key=True)
    started_at: Instant = Field(index=True)
