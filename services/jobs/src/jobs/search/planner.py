"""How a list is read, at a cost that hardly grows with the number of rows.

Where an index has the rows in the requested order, it is scanned. Everything else is looked up by tokens; many rows may have them, but
a page shows few. So the list is read in parts along its order: the first part covers the next thousand rows, each further part covers
more. The tokens of time buckets (`search_index.time_buckets`) keep a part from reading rows outside its range.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import search_index
from jobs.job_store import NOT_SCHEDULED, SCHEDULED_ORDER, ActionRow, JobRow, not_deleted
from jobs.search.query import SearchQuery, Tsqueries, all_of, any_of, matching, within
from jobs.search.schemas import Filters, JobFilters
from shared.ids import known_uuid

RowT = TypeVar("RowT", JobRow, ActionRow)

SAMPLE_ROWS = 1_000
"""How far so many rows reach, so far the first part does."""
PART_GROWTH = 6
"""Each part reaches so many times as far as the one before: no more than that times the rows of a page are read to be left out."""
PARTS = 5
"""The last goes to the end of the list: what is not found by then is so rare that the whole list has few of it."""
CLOSE_PARTS = 3
"""So many of them are short enough to look for pieces, which more rows have than match."""
OWNER_SHARE_MAX = 0.3
"""Of all rows. Whose they are is compared row by row where an owner has more: to meet each row in so long a list costs more."""
DENSE_FACTOR = 8
"""Where so many times the next thousand rows would fit into the shortest block of time, blocks keep too little away: these are walked."""

_SHARE = text(
    """
    (
        SELECT known.share FROM pg_stats, unnest(CAST(CAST(most_common_vals AS text) AS uuid[]), most_common_freqs) AS known (id, share)
        WHERE schemaname = current_schema() AND tablename = :table_name AND attname = :column_name AND known.id = :owner_id
    ) AS share
    """
)
_UNSCHEDULED_BUCKET = within(
    search_index.covering_tokens(
        "D",
        search_index.day_number(search_index.UNSCHEDULED_DAY),
        search_index.day_number(search_index.UNSCHEDULED_DAY),
    )
)


@dataclass(frozen=True, slots=True)
class _Axis:
    """An order along which a list is cut into parts."""

    column: Any
    kind: search_index.BucketKind
    number: Callable[[Any], int]
    """Of the shortest block in which a value lies."""
    shortest: timedelta
    first: Any
    last: Any
    """Between which all lies that can match; None where that is not known."""
    within: Sequence[ColumnElement[bool]] = ()
    """What is cut, where that is not all rows."""


# -- part by part ----------------------------------------------------------------------------------------------------------


def choose_axis(query: SearchQuery[RowT], order: str, filters: Filters) -> _Axis | None:
    """Along what a list in this order is cut; None when it is read as a whole."""
    if query.in_order or query.whole:
        return None
    hour = timedelta(hours=1)
    if order == "created_at":
        return _Axis(col(query.rows.created_at), "C", search_index.hour_number, hour, query.first, query.last)
    # No other index is in order for one merchant: to see how far its next rows reach might take reading all others'.
    if query.of_merchant:
        return None
    if order == "updated_at":
        return _Axis(
            col(query.rows.updated_at), "U", search_index.hour_number, hour, filters.updated_gte, filters.updated_lte
        )
    if isinstance(filters, JobFilters):
        first, last = filters.scheduled_date_gte, filters.scheduled_date_lte
        return _Axis(
            SCHEDULED_ORDER,
            "D",
            search_index.day_number,
            timedelta(days=1),
            first,
            last,
            [SCHEDULED_ORDER < NOT_SCHEDULED],
        )
    return None


async def plan_parts(
    session: AsyncSession, query: SearchQuery[Any], axis: _Axis, descending: bool, position: Any
) -> AsyncGenerator[Sequence[ColumnElement[bool]], None]:
    """The rows that match, from a position on, cut along an axis."""
    near, middle, far, rows, share = (await session.execute(_sample_statement(query, axis, descending, position))).one()
    owner = [_owner_token(query)] if (share or 0) < OWNER_SHARE_MAX else []
    if rows < SAMPLE_ROWS:
        parts = [_scanned_part(query, axis, None, None)]
    else:
        # From the middle on they tell better how close rows lie than from the first, which may be far from all others.
        way = 2 * abs(far - middle)
        first, *others = _part_bounds(far, max(way, axis.shortest), descending)
        walked = way * DENSE_FACTOR < axis.shortest or (query.wide_tokens and not query.pieces)
        close = [*all_of([*query.asked, *(query.pieces or query.wide_tokens)]), *owner]
        distant_asked = [*query.asked, *query.wide_tokens]
        distant = [*all_of(distant_asked), *owner]
        parts = [
            _scanned_part(query, axis, *first) if walked else _token_part(query, axis, close, *first, near),
            *(
                # By whose it is alone, all that is left would be gathered.
                _scanned_part(query, axis, *part)
                if number == len(others) and not distant_asked
                else _token_part(query, axis, close if number < CLOSE_PARTS else distant, *part)
                for number, part in enumerate(others, start=1)
                if not _is_outside(axis, *part)
            ),
        ]
    undated = [] if axis.kind != "D" or axis.first or axis.last else [_unscheduled_part(query, owner)]
    if not descending:
        yield [*parts, *undated]
    else:
        yield [*(undated if position in (None, search_index.UNSCHEDULED_DAY) else []), *parts]


def _part_bounds(far: Any, way: timedelta, descending: bool) -> Iterator[tuple[Any, Any]]:
    """Where each part begins and ends, the first reaching as far as `far`. None is the end of the list."""
    # A part ends before its edge: at least one value has to lie before the first.
    edges = [
        far if descending else _shifted(far, timedelta(days=1) if type(far) is date else timedelta(microseconds=1))
    ]
    for number in range(1, PARTS - 1):
        edges.append(_shifted(edges[-1], -way * PART_GROWTH**number if descending else way * PART_GROWTH**number))
    start = None
    for edge in [*edges, None]:
        yield (edge, start) if descending else (start, edge)
        start = edge


def _unscheduled_part(query: SearchQuery[Any], owner: Tsqueries) -> ColumnElement[bool]:
    return _by_tokens(
        query,
        [*all_of([*query.asked, *query.wide_tokens]), *owner, *_UNSCHEDULED_BUCKET],
        [SCHEDULED_ORDER == NOT_SCHEDULED],
    )


def _owner_token(query: SearchQuery[Any]) -> str:
    return any_of([search_index.token("M" if query.of_merchant else "N", query.owner_id)])


def _sample_statement(query: SearchQuery[Any], axis: _Axis, descending: bool, position: Any) -> Select[Any]:
    """Where the next rows are, whether they match or not: the nearest, the middle one and the farthest, and how many there are.

    And which share of all rows is the owner's, where it is large enough for PostgreSQL to know it.
    """
    column = axis.column
    next_rows = not_deleted(query.rows).with_only_columns(column.label("at"))
    next_rows = next_rows.where(*query.owned, *axis.within)
    for start in (position, axis.last if descending else axis.first):
        if start is not None:
            next_rows = next_rows.where(column <= start if descending else column >= start)
    rows = next_rows.order_by(column.desc() if descending else column.asc()).limit(SAMPLE_ROWS).subquery()
    near, far = (func.max, func.min) if descending else (func.min, func.max)
    middle = func.percentile_disc(0.5).within_group(rows.c.at)
    share = _SHARE.bindparams(
        table_name=query.rows.__tablename__,
        column_name="merchant_id" if query.of_merchant else "tenant_id",
        owner_id=known_uuid(query.owner_id),
    )
    return select(near(rows.c.at), middle, far(rows.c.at), func.count(), share)


def _scanned_part(query: SearchQuery[Any], axis: _Axis, begin: Any, end: Any) -> ColumnElement[bool]:
    """The rows that match from `begin` on and before `end`, read along the order."""
    conditions = [_owner_condition(query), *query.where, *matching(query.rows, query.asked)]
    return and_(*query.owned, *_bounds(axis, begin, end), _without_index(*conditions))


def _token_part(
    query: SearchQuery[Any], axis: _Axis, asked: Tsqueries, begin: Any, end: Any, near: Any = None
) -> ColumnElement[bool]:
    """The same, found by terms; `near` is where those begin that lie at an open end."""
    start, stop = begin or axis.first, end or axis.last
    if near is not None:
        start, stop = (start, stop or near) if begin else (start or near, stop)
    if start is not None and stop is not None:
        asked = [*asked, *within(search_index.covering_tokens(axis.kind, axis.number(start), axis.number(stop)))]
    return _by_tokens(query, asked or [_owner_token(query)], _bounds(axis, begin, end))


def _by_tokens(query: SearchQuery[Any], asked: Tsqueries, bounds: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    return and_(*matching(query.rows, asked), _without_index(_owner_condition(query), *bounds, *query.where))


def _owner_condition(query: SearchQuery[Any]) -> ColumnElement[bool]:
    whose = query.among.whereclause
    assert whose is not None
    return whose


def _without_index(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """All of these, as PostgreSQL uses no index for.

    How a list is read is said thus, and not left to it: it cannot know how terms and order mix, and was wrong by a factor of a thousand.
    """
    return and_(*conditions).is_(true())


def _bounds(axis: _Axis, begin: Any, end: Any) -> list[ColumnElement[bool]]:
    start, stop = begin or axis.first, end or axis.last
    bounds: list[ColumnElement[bool]] = [*axis.within]
    if start is not None:
        bounds.append(axis.column >= start)
    if stop is not None:
        bounds.append(axis.column <= stop if end is None else axis.column < stop)
    return bounds


def _is_outside(axis: _Axis, begin: Any, end: Any) -> bool:
    before = end is not None and axis.first is not None and end <= axis.first
    return before or (begin is not None and axis.last is not None and begin > axis.last)


def _shifted(start: Any, way: timedelta) -> Any:
    try:
        return start + way
    except OverflowError:
        end = date.max if way > timedelta() else date.min
        return datetime.combine(end, time(tzinfo=UTC)) if isinstance(start, datetime) else end
