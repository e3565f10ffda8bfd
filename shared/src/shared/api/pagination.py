"""Keyset pagination: stable while rows are inserted, without OFFSET and without totals."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field
from pydantic_core import to_json
from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Executable,
    Select,
    Text,
    bindparam,
    cast,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped

from shared.api.cursors import CURSOR_EXAMPLE, Paging
from shared.errors import BadRequest

ItemT = TypeVar("ItemT")

RowT = TypeVar("RowT")
FoundT = TypeVar("FoundT")

Part = ColumnElement[bool] | Sequence[ColumnElement[bool]]
"""A condition, or several that one statement checks one after the other until the page is full."""
Parts = Callable[[Any], AsyncGenerator[Part, None]]
"""Splits a list into parts, given the first value of the position where a page begins (None at the start). Each row after the position
meets exactly one of the conditions, and all rows of one part come before those of the next."""


@dataclass(frozen=True, slots=True)
class ExpensiveFilter:
    """A condition that costs more than all others. It is checked last, and only for rows that may be on the page."""

    condition: Callable[[Any], ColumnElement[bool]]
    """Makes the condition from a row of `columns`."""
    columns: Sequence[Any]
    """The columns that the condition reads."""


class Page(BaseModel, Generic[ItemT]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[ItemT] = Field(description="The records of this page.")
    has_more: bool = Field(description="Whether another page follows.", examples=[True])
    next_cursor: str | None = Field(
        None,
        description="Pass it as `cursor`, with the same filters, to get the next page.",
        examples=[CURSOR_EXAMPLE],
    )


@dataclass(frozen=True, slots=True)
class Documents:
    """One page of a list, whose records are documents already and not models."""

    data: list[dict[str, Any]]
    next_cursor: str | None

    def content(self) -> bytes:
        """The page as JSON, as `Page` has it."""
        page = {"object": "list", "data": self.data, "has_more": self.next_cursor is not None}
        return to_json({**page, "next_cursor": self.next_cursor})


async def page(
    session: AsyncSession,
    statement: Select[RowT],
    request: Paging,
    *,
    by: Sequence[InstrumentedAttribute[Any] | Mapped[Any] | ColumnElement[Any]],
    view: Callable[[RowT], ItemT],
    descending: bool = True,
    filters: object = None,
    parts: Parts | None = None,
    expensive_filter: ExpensiveFilter | None = None,
    few: bool = False,
) -> Page[ItemT]:
    """One page of `statement`, ordered by `by` (columns or expressions, the last one unique); `view` makes each item from its row.

    `filters` are the values that shaped the statement: a cursor is valid with the same values only. `parts` are read one after the other
    until the page is full. `expensive_filter` is checked last, row by row until the page is full. With `few` the whole list is looked
    up and sorted: PostgreSQL might go through an index in the list's order and meet no row for long. Raises `BadRequest` for an invalid
    cursor.
    """
    position = request.position([filters, descending])
    if position is not None and len(position) != len(by):
        raise BadRequest("the cursor was made by another version of this API", code="cursor_invalid")
    values = [] if position is None else [_typed(part, value) for part, value in zip(by, position, strict=True)]
    if values:
        keys = tuple_(*by)
        statement = statement.where(keys < tuple_(*values) if descending else keys > tuple_(*values))
    if few:
        first = _first_of_few(statement, by, request.limit + 1, descending=descending)
        statement = select(*(column["expr"] for column in statement.column_descriptions)).where(by[-1].in_(first))
    statement = statement.order_by(*(part.desc() if descending else part.asc() for part in by))
    # The values of `by` are selected, too: an expression is not an attribute of the row.
    statement = statement.add_columns(*by)
    wanted = request.limit + 1
    found: list[Any] = []
    if parts is None:
        found += await session.execute(_of_part(statement, true(), by[-1], wanted, expensive_filter))
    else:
        async with aclosing(parts(_value(by[0], position))) as conditions:
            async for part in conditions:
                found += await session.execute(_of_part(statement, part, by[-1], wanted - len(found), expensive_filter))
                if len(found) == wanted:
                    break
    return page_of(
        found,
        request,
        view=lambda row: view(row[0]),
        position=lambda row: row[1:],
        filters=[filters, descending],
    )


def page_of(
    found: Sequence[FoundT],
    request: Paging,
    *,
    view: Callable[[FoundT], ItemT],
    position: Callable[[FoundT], Sequence[Any]],
    filters: object,
) -> Page[ItemT]:
    """The page of these rows, of which the caller has read up to `request.limit + 1`: one row too many means that another page follows.

    `position` gives the position of a row, after which the next page begins; `filters` as in `page`.
    """
    shown, has_more = found[: request.limit], len(found) > request.limit
    cursor = request.cursor_after(position(shown[-1]), filters) if has_more else None
    return Page(data=[view(row) for row in shown], has_more=has_more, next_cursor=cursor)


def page_of_documents(
    found: Sequence[FoundT],
    shown: list[dict[str, Any]],
    request: Paging,
    *,
    position: Callable[[FoundT], Sequence[Any]],
    filters: object,
) -> Documents:
    """As `page_of`, of rows whose documents (`shown`, up to `request.limit`) have been made."""
    cursor = None
    if len(found) > request.limit:
        cursor = request.cursor_after(position(found[request.limit - 1]), filters)
    return Documents(shown, cursor)


def where_equal(statement: Select[RowT], values: Mapping[Any, object]) -> Select[RowT]:
    """The statement with the condition `column = value` for each value that is not None."""
    return statement.where(*(column == value for column, value in values.items() if value is not None))


def _of_part(
    statement: Select[Any], part: Part, identity: Any, count: int, expensive_filter: ExpensiveFilter | None
) -> Executable:
    """The first rows of a part.

    PostgreSQL appends the rows of several conditions in their order, and runs none before its rows are needed.
    """
    conditions = [part] if isinstance(part, ColumnElement) else part
    if expensive_filter is not None:
        surely = [
            _identities(statement.where(condition), identity, count, expensive_filter) for condition in conditions
        ]
        return statement.where(identity.in_(surely[0] if len(surely) == 1 else union_all(*surely).limit(count)))
    each = [statement.where(condition).limit(count) for condition in conditions]
    if len(each) == 1:
        return each[0]
    return statement.order_by(None).from_statement(union_all(*each).limit(count))


def _identities(statement: Select[Any], identity: Any, count: int, expensive_filter: ExpensiveFilter) -> Select[Any]:
    """The identities of the first rows that meet the expensive filter."""
    columns = statement.with_only_columns(identity.label("found"), *expensive_filter.columns)
    # PostgreSQL does not push outer conditions into a subquery with an OFFSET: rows come in order, and only as many as needed.
    rows = columns.offset(literal_column("0")).subquery()
    return select(rows.c.found).where(expensive_filter.condition(rows.c)).limit(count)


def _first_of_few(statement: Select[Any], by: Sequence[Any], count: int, *, descending: bool) -> Select[Any]:
    """The identities of the first rows, after all of them were found."""
    columns = [part.label(f"by_{place}") for place, part in enumerate(by)]
    # PostgreSQL does not take the order into account within a subquery with an OFFSET.
    rows = statement.with_only_columns(*columns).order_by(None).offset(literal_column("0")).subquery()
    found = list(rows.c)
    order = [part.desc() if descending else part.asc() for part in found]
    return select(found[-1]).order_by(*order).limit(count)


def _value(column: Any, position: Sequence[Any] | None) -> Any:
    """The first value of a cursor's position as the column's Python type."""
    if position is None:
        return None
    read = {DateTime: datetime.fromisoformat, Date: date.fromisoformat}.get(type(column.type))
    return position[0] if read is None else read(position[0])


def _typed(column: Any, value: Any) -> Any:
    """A cursor's value as the column's SQL type. Cursors are signed, so the value is one that this API wrote."""
    if isinstance(column.type, Date):
        # As text: the driver reads the last day of the calendar as infinity.
        return cast(bindparam(None, value, type_=Text(), unique=True), Date())
    if isinstance(column.type, DateTime):
        value = datetime.fromisoformat(value)
    return bindparam(None, value, type_=column.type, unique=True)
