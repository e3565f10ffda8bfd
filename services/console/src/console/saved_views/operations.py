"""Keeps the views of each person."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlmodel import col

from console.saved_views.tables import SavedViewRow
from shared.postgres.database import Database

VIEWS_MAX = 20
"""Views of one person."""
NAME_CHARS_MAX = 40
QUERY_CHARS_MAX = 2_000
ID_BYTES = 12


class SavedViews:
    """The views that are stored in the console's database."""

    def __init__(self, database: Database):
        self._database = database

    async def list_views(self, person: Mapping[str, Any], page: str) -> Sequence[SavedViewRow]:
        """The person's views of a page, oldest first."""
        mine = select(SavedViewRow).where(col(SavedViewRow.person_id) == person["id"], col(SavedViewRow.page) == page)
        async with self._database.reading() as session:
            return (await session.execute(mine.order_by(col(SavedViewRow.created_at)))).scalars().all()

    async def save(self, person: Mapping[str, Any], page: str, name: str, query: str) -> bool:
        """Keep a view, instead of one of the same name. False: one beyond the limit, or without a name, is not kept."""
        name = name[:NAME_CHARS_MAX]
        if not name or len(query) > QUERY_CHARS_MAX:
            return False
        mine = col(SavedViewRow.person_id) == person["id"]
        same = mine & (col(SavedViewRow.page) == page) & (col(SavedViewRow.name) == name)
        async with self._database.transaction() as session:
            await session.execute(delete(SavedViewRow).where(same))
            counted = await session.execute(select(func.count()).select_from(SavedViewRow).where(mine))
            if counted.scalar_one() >= VIEWS_MAX:
                return False
            session.add(
                SavedViewRow(
                    id=secrets.token_urlsafe(ID_BYTES),
                    person_id=str(person["id"]),
                    page=page,
                    name=name,
                    query=query,
                    created_at=datetime.now(UTC),
                )
            )
        return True

    async def delete(self, person: Mapping[str, Any], view_id: str) -> None:
        """Forget one of the person's views."""
        mine = (col(SavedViewRow.person_id) == person["id"]) & (col(SavedViewRow.id) == view_id)
        async with self._database.transaction() as session:
            await session.execute(delete(SavedViewRow).where(mine))
