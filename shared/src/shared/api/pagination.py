"""Keyset pages: never OFFSET, stable under inserts, no totals."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field
from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Executable,
    Select,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped

from shared.api.cursors import Paging
from shared.errors import BadRequest

ItemT = TypeVar("ItemT")

RowT = TypeVar("RowT")
FoundT = TypeVar("FoundT")

Part = ColumnElement[bool] | Sequence[ColumnElement[bool]]
"""A condition; or several of them, all looked at by one statement, one after the other as far as that is needed."""
Parts = Callable[[Any], AsyncGenerator[Part, None]]
"""Cuts a list into parts, given the first value of the position where a page begins (None at the start): conditions of which each row that
follows meets exactly one, the rows of one part all coming before those of the next."""


@dataclass(frozen=True, slots=True)
class ExpensiveFilter:
    """A condition that costs more than all others: not to be looked at in rows that no page shows."""

    condition: Callable[[Any], ColumnElement[bool]]
    """Given these columns of a row."""
    columns: Sequence[Any]
    """What it looks at."""


@dataclass(frozen=True, slots=True)
class OneOfValues:
    """A condition that a column has one of a few values, each of which an index has in the order of the list."""

    column: Any
    values: Sequence[Any]


class Page(BaseModel, Generic[ItemT]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[ItemT]
    has_more: bool = Field(description="Whether another page follows.")
    next_cursor: str | None = Field(
        None, description="Pass it as `cursor`, with the same filters, to get the next page."
    )


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
    each: OneOfValues | None = None,
    expensive_filter: ExpensiveFilter | None = None,
) -> Page[ItemT]:
    """One page of `statement`, ordered by the columns or expressions `by` (the last of them unique), each row shown through `view`.

    `filters` is everything that shaped the statement: a cursor is good only under the same. Of the `parts`, one after the other, only as
    many are read as fill the page. With `each`, a condition beside those of the statement, a page is read for each of its values and the
    first of all these are shown. What `lastly` says is looked at when all else is in order, row by row until the page is full.
    Raises `BadRequest` for bad cursors.
    """
    position = request.position([filters, descending])
    if position is not None and len(position) != len(by):
        raise BadRequest("the cursor was made by another version of this API", code="cursor_invalid")
    values = [] if position is None else [_typed(part, value) for part, value in zip(by, position, strict=True)]
    if values:
        keys = tuple_(*by)
        statement = statement.where(keys < tuple_(*values) if descending else keys > tuple_(*values))
    statement = statement.order_by(*(part.desc() if descending else part.asc() for part in by))
    if each is not None:
        statement = statement.where(by[-1].in_(_first_of_each(statement, each, by[-1], request.limit + 1)))
    # The values that order a row are read beside it: an expression has no attribute of the row to be read from.
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
    """The page of these rows. The caller has read one row more than the page has, if there is one: then another page follows.

    `position` is where the next page begins, after this row; `filters` as for `page`.
    """
    shown, has_more = found[: request.limit], len(found) > request.limit
    cursor = request.cursor_after(position(shown[-1]), filters) if has_more else None
    return Page(data=[view(row) for row in shown], has_more=has_more, next_cursor=cursor)


def where_equal(statement: Select[RowT], values: Mapping[Any, object]) -> Select[RowT]:
    """The statement with the condition `column = value` for each value that is not None."""
    return statement.where(*(column == value for column, value in values.items() if value is not None))


def _of_part(
    statement: Select[Any], part: Part, identity: Any, count: int, expensive_filter: ExpensiveFilter | None
) -> Executable:
    """The first rows of a part.

    PostgreSQL appends what several conditions find in the order in which they stand, and begins with none before it has to.
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
    """Of the first rows that are what `lastly` says."""
    columns = statement.with_only_columns(identity.label("found"), *expensive_filter.columns)
    # A statement with an OFFSET is done, order and all, before what stands around it looks at a row.
    rows = columns.offset(literal_column("0")).subquery()
    return select(rows.c.found).where(expensive_filter.condition(rows.c)).limit(count)


def _first_of_each(statement: Select[Any], each: OneOfValues, identity: Any, count: int) -> Select[Any]:
    """The identities of the first rows of each value."""
    listed = bindparam(None, list(each.values), type_=ARRAY(each.column.type), unique=True)
    values = func.unnest(listed).table_valued(column("value", each.column.type)).render_derived(name="each_value")
    first = statement.with_only_columns(identity.label("found")).where(each.column == values.c.value).limit(count)
    found = first.correlate(values).lateral("first_found")
    return select(found.c.found).select_from(values).join(found, true()).correlate(None)


def _value(column: Any, position: Sequence[Any] | None) -> Any:
    """The first value of a cursor's position, as Python has the column's type."""
    if position is None:
        return None
    read = {DateTime: datetime.fromisoformat, Date: date.fromisoformat}.get(type(column.type))
    return position[0] if read is None else read(position[0])


def _typed(column: Any, value: Any) -> Any:
    """A cursor's value as the column's type (a signed cursor holds only what this API put there)."""
    if isinstance(column.type, Date):
        # As text: the driver would take the last day of the calendar for infinity.
        return cast(bindparam(None, value, type_=Text(), unique=True), Date())
    if isinstance(column.type, DateTime):
        value = datetime.fromisoformat(value)
    return bindparam(None, value, type_=column.type, unique=True)
