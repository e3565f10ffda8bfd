"""Fills in the words by which merchants, users and locations are found."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import locations, merchants, users
from identity.locations import LocationRow
from identity.merchants import MerchantRow
from identity.users import UserRow

RowT = TypeVar("RowT", MerchantRow, UserRow, LocationRow)


async def fill(session: AsyncSession, rows_max: int) -> int:
    """Fill in the words of records that have none, `rows_max` of each kind at most; returns of how many."""
    return sum(
        [
            await _fill(session, MerchantRow, merchants.index, rows_max),
            await _fill(session, UserRow, users.index, rows_max),
            await _fill(session, LocationRow, locations.index, rows_max),
        ]
    )


async def _fill(session: AsyncSession, table: type[RowT], index: Callable[[RowT], None], rows_max: int) -> int:
    # Rows that somebody changes at this moment get their words by that.
    without = select(table).where(col(table.search_words).is_(None)).limit(rows_max)
    rows = (await session.execute(without.with_for_update(key_share=True, skip_locked=True))).scalars().all()
    for row in rows:
        index(row)
    return len(rows)
