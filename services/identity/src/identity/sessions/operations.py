"""Opens and ends sessions, and deletes expired sessions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.sessions.tables import RefreshTokenRow, SessionRow
from shared.ids import known_uuid, to_uuid
from shared.postgres.driver_connection import driver_of

_OPEN = """
    WITH opened AS (
        INSERT INTO sessions (
            session_id, tenant_id, subject_id, created_at, last_seen_at, expires_at, address, user_agent
        ) VALUES ($1, $2, $3, $4, $4, $5, $6, $7)
        RETURNING session_id
    )
    INSERT INTO refresh_tokens (session_id, digest) SELECT session_id, $8 FROM opened
"""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that begins."""

    session_id: str
    tenant_id: str
    subject_id: str
    created_at: datetime
    expires_at: datetime
    address: str
    user_agent: str
    stepped_up_at: None = None


async def create(session: AsyncSession, new: NewSession, token_digest: bytes) -> None:
    """Store a session, with the digest of its first refresh token."""
    driver = await driver_of(session)
    await driver.execute(
        _OPEN,
        to_uuid(new.session_id),
        known_uuid(new.tenant_id),
        new.subject_id,
        new.created_at,
        new.expires_at,
        new.address,
        new.user_agent,
        token_digest,
    )


async def end_all(
    session: AsyncSession, subject_id: str, now: datetime, *, except_session_id: str | None = None
) -> None:
    """End a person's sessions, so that none of them can be renewed."""
    statement = select(SessionRow).where(col(SessionRow.subject_id) == subject_id, col(SessionRow.ended_at).is_(None))
    for row in (await session.execute(statement.with_for_update())).scalars():
        if row.session_id != except_session_id:
            row.ended_at = now


async def shorten(session: AsyncSession, tenant_id: str, life: timedelta) -> None:
    """Have the sessions of a tenant expire no later than so long after they began."""
    end = col(SessionRow.created_at) + life
    longer = update(SessionRow).where(col(SessionRow.tenant_id) == tenant_id, col(SessionRow.expires_at) > end)
    await session.execute(longer.values(expires_at=end))


async def end_all_of_tenant(session: AsyncSession, tenant_id: str, now: datetime) -> None:
    """End the sessions of everybody in a tenant."""
    running = update(SessionRow).where(col(SessionRow.tenant_id) == tenant_id, col(SessionRow.ended_at).is_(None))
    await session.execute(running.values(ended_at=now))


async def delete_of_tenant(session: AsyncSession, tenant_id: str, rows_max: int) -> int:
    """Delete sessions of a tenant with their refresh tokens, `rows_max` at most; returns how many."""
    some = select(col(SessionRow.session_id)).where(col(SessionRow.tenant_id) == tenant_id).limit(rows_max)
    statement = delete(SessionRow).where(col(SessionRow.session_id).in_(some)).returning(col(SessionRow.session_id))
    return len((await session.execute(statement)).all())


async def use_up_tokens(session: AsyncSession, session_id: str, now: datetime) -> None:
    """Use up the refresh tokens of a session: whoever presents one of them ends it."""
    unused = update(RefreshTokenRow).where(
        col(RefreshTokenRow.session_id) == session_id, col(RefreshTokenRow.used_at).is_(None)
    )
    await session.execute(unused.values(used_at=now))


async def delete_expired(session: AsyncSession, now: datetime, rows_max: int) -> None:
    """Delete expired sessions with their refresh tokens, `rows_max` at most."""
    expired = select(col(SessionRow.session_id)).where(col(SessionRow.expires_at) < now).limit(rows_max)
    await session.execute(delete(SessionRow).where(col(SessionRow.session_id).in_(expired)))
