"""By which words a record is found: those of its names, addresses and references, folded as in every search of the suite.

Each word is stored behind its tenant's id, so that a search reads the words of one tenant, however many others there are. Every word of
a search must begin a word of the record. When these rules change, a migration sets `search_words` to NULL: a worker fills it again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement, Select, cast, func, inspect, literal_column
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.api import Page, Paging, page
from shared.api.pagination import ExpensiveFilter
from shared.folding import FREE_TEXT_WORDS_MAX, parse_free_text, parts_of_two, words
from shared.ids import to_uuid

ItemT = TypeVar("ItemT")
RowT = TypeVar("RowT")

FEW_ROWS = 1_500
"""So many records are fetched and sorted in about the time of the rest of a request."""
PREFIX_CHARS_MIN = 2
"""A shorter word must be a whole word of the record: nearly every record has one that begins with a given letter."""


def search_words(tenant_id: str, *texts: str | None) -> list[str]:
    """The words of these texts as they are stored."""
    written = " ".join(text for text in texts if text)
    tenant = _of_tenant(tenant_id)
    return sorted({tenant + word for word in (*words(written), *parts_of_two(written))})


def found_by(column: Any, tenant_id: str, text: str) -> ColumnElement[bool]:
    """The condition that a record of this tenant is found by a free text, given the column with its words.

    It is that of the index, and never true for a text without words.
    """
    tenant = _of_tenant(tenant_id)
    alternatives = [_all_of(tenant, wanted) for wanted in parse_free_text(text)]
    return func.array_to_tsvector(column).bool_op("@@")(cast(" | ".join(alternatives), TSQUERY))


class Searchable(Protocol):
    """A table whose rows are found by their words."""

    search_words: Any
    created_at: Any


async def search_page(
    session: AsyncSession,
    table: type[Searchable],
    tenant_id: str,
    statement: Select[RowT],
    paging: Paging,
    *,
    q: str | None,
    view: Callable[[RowT], ItemT],
    filters: Sequence[object] = (),
) -> Page[ItemT]:
    """One page of a statement, which has the visible rows of a tenant, newest first; with `q` those whose words begin with its words.

    The rest is as in `page`.
    """
    (key,) = inspect(table).primary_key
    by = (col(table.created_at), col(getattr(table, key.name)))
    asked = await _search(session, statement, col(table.search_words), tenant_id, q)
    return await page(
        session,
        asked.statement,
        paging,
        by=by,
        view=view,
        filters=[*filters, q],
        few=asked.few,
        expensive_filter=asked.on_the_way,
    )


@dataclass(frozen=True, slots=True)
class _FreeText(Generic[RowT]):
    """A list that is searched for a free text: its statement, and how a page of it is read."""

    statement: Select[RowT]
    few: bool = False
    """Whether the list is short."""
    on_the_way: ExpensiveFilter | None = None
    """A condition that is checked on the way through a long list."""


async def _search(
    session: AsyncSession, statement: Select[RowT], column: Any, tenant_id: str, text: str | None
) -> _FreeText[RowT]:
    """The statement, restricted to the rows that are found by a free text; None: not restricted.

    What few records have is looked up. What many have is met on the way through the list: it would take longer to fetch and sort them all.
    PostgreSQL cannot know which is which, because its statistics do not have every beginning of a word, so some are counted.
    """
    if text is None:
        return _FreeText(statement)
    found = statement.where(found_by(column, tenant_id, text))
    some: Select[Any] = found.with_only_columns(literal_column("1")).limit(FEW_ROWS + 1)
    if len((await session.execute(some)).all()) <= FEW_ROWS:
        return _FreeText(found, few=True)
    on_the_way = ExpensiveFilter(lambda columns: found_by(columns.search_words, tenant_id, text), [column])
    return _FreeText(statement, on_the_way=on_the_way)


def _all_of(tenant: str, wanted: Iterable[str]) -> str:
    # Words have letters, marks and digits only, so nothing has to be escaped.
    lexemes = [f"'{tenant}{word}'{':*' if len(word) >= PREFIX_CHARS_MIN else ''}" for word in wanted]
    return f"({' & '.join(lexemes[:FREE_TEXT_WORDS_MAX])})"


def _of_tenant(tenant_id: str) -> str:
    return to_uuid(tenant_id).hex
