"""Looks for records without words, in every replica, at intervals."""

from identity import search_filling
from shared.postgres.database import Database

FILL_SECONDS = 60.0
"""From the end of one look to the start of the next."""
FILLED_ROWS_MAX = 500
"""Records of each kind that one transaction fills."""


async def fill_search_words(database: Database) -> None:
    """Fill in all that is missing."""
    filled = FILLED_ROWS_MAX
    while filled:
        async with database.transaction() as session:
            filled = await search_filling.fill(session, FILLED_ROWS_MAX)
