"""Reads and locks second factors."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.totp.tables import SecondFactorRow


async def is_enrolled(session: AsyncSession, subject_id: str) -> bool:
    """Whether logging in as this person asks for a code."""
    statement = select(col(SecondFactorRow.confirmed_at)).where(col(SecondFactorRow.subject_id) == subject_id)
    return await session.scalar(statement) is not None


async def lock(session: AsyncSession, subject_id: str) -> SecondFactorRow | None:
    """The person's second factor, confirmed or not, locked; None if there is none."""
    return await session.get(SecondFactorRow, subject_id, with_for_update=True, populate_existing=True)


async def lock_enrolled(session: AsyncSession, subject_id: str) -> SecondFactorRow | None:
    """The person's second factor, locked; None if there is none, or if it was never confirmed."""
    row = await lock(session, subject_id)
    return row if row is not None and row.confirmed_at is not None else None
