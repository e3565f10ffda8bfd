"""The table of saved views."""

from sqlmodel import Field

from console.registry import Base
from shared.postgres.column_types import Instant, Text


class SavedViewRow(Base, table=True):
    """A view of one person: a page, and what its address asks."""

    __tablename__ = "saved_views"

    id: Text = Field(primary_key=True)
    person_id: Text = Field(index=True)
    page: Text
    name: Text
    query: Text
    created_at: Instant
