"""Reads a person's open sessions."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.sessions import rules
from identity.sessions.schemas import OpenSession
from identity.sessions.tables import SessionRow
from shared.api import Page, Paging, page
from shared.audit import Actor


async def list_open(session: AsyncSession, actor: Actor, paging: Paging) -> Page[OpenSession]:
    """The open sessions of the person who asks, newest first."""
    now = datetime.now(UTC)
    statement = select(SessionRow).where(
        col(SessionRow.subject_id) == actor.id, col(SessionRow.ended_at).is_(None), col(SessionRow.expires_at) > now
    )

    def view(row: SessionRow) -> OpenSession:
        return OpenSession(
            id=row.session_id,
            current=row.session_id == actor.caller.session_id,
            address=row.address,
            user_agent=row.user_agent,
            device=rules.device_of(row.user_agent),
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            expires_at=row.expires_at,
        )

    order = (col(SessionRow.created_at), col(SessionRow.session_id))
    return await page(session, statement, paging, by=order, view=view)
