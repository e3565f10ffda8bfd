"""How a list is read, at a cost that hardly grows with the number of rows.

If an index has the rows in the requested order, it is scanned. Otherwise rows are looked up by tokens; many rows can match, but a page
shows few. So the list is read in up to five parts along its order: the first covers the next thousand rows, each further part covers
six times as much, the last one the rest. The tokens of time buckets (`search_index.time_buckets`) restrict each lookup to the range of
its part.

Example: `tag=fragile`, newest first, where the thousand newest jobs were created in the last 6 hours. The first part looks up `t:fragile`
with the buckets of these hours, the second with those of the 36 hours before, and so on. All parts are one statement; PostgreSQL begins
a part only if those before it did not fill the page.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs import search_index
from jobs.job_store import NOT_SCHEDULED, SCHEDULED_ORDER, ActionRow, JobRow, not_deleted
from jobs.search.query import SearchQuery, Tsqueries, all_of, any_bucket, any_of, matching
from jobs.search.schemas import Filters, JobFilters
from shared.ids import known_uuid

RowT = TypeVar("RowT", JobRow, ActionRow)

SAMPLE_ROWS = 1_000
"""The first part reaches as far as this number of rows, whether they match or not."""
PART_GROWTH = 6
"""Each part is this many times as long as the one before, so at most so many times the rows of a page are read in vain."""
PARTS = 5
"""The last part reaches to the end of the list: what the parts before do not find is so rare that the rest has few matches, too."""
CLOSE_PARTS = 3
"""The first parts, which are short enough to use the n-grams of a name instead of its wide tokens."""
OWNER_SHARE_MAX = 0.3
"""Share of all rows above which an owner's token is not looked up: comparing the owner in each row costs less than a long list."""
DENSE_FACTOR = 8
"""If the sample covers less than this fraction of the shortest bucket, buckets exclude too little: the first part is scanned."""

_SHARE = text(
    """
    (
        SELECT known.share FROM pg_stats, unnest(CAST(CAST(most_common_vals AS text) AS uuid[]), most_common_freqs) AS known (id, share)
        WHERE schemaname = current_schema() AND tablename = :table_name AND attname = :column_name AND known.id = :owner_id
    ) AS share
    """
)
_UNSCHEDULED_BUCKET = any_bucket(
    search_index.covering_tokens(
        "D",
        search_index.day_number(search_index.UNSCHEDULED_DAY),
        search_index.day_number(search_index.UNSCHEDULED_DAY),
    )
)


@dataclass(frozen=True, slots=True)
class _Axis:
    """An order along which a list is read in parts."""

    column: Any
    bucket_kind: search_index.BucketKind
    bucket_number: Callable[[Any], int]
    """The number of the shortest bucket that contains a value."""
    shortest_bucket: timedelta
    first: Any
    last: Any
    """Bounds of the values that can match; None if unknown."""
    conditions: Sequence[ColumnElement[bool]] = ()
    """Rows that are on the axis at all, if not all are."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The next rows in the order of the list, at most `SAMPLE_ROWS`, whether they match or not."""

    near: Any
    middle: Any
    far: Any
    """Values of the first, the middle and the last of them."""
    rows: int
    owner_share: float | None
    """The owner's share of all rows of the table; None if it is too small to be in PostgreSQL's statistics."""


def choose_axis(query: SearchQuery[RowT], order: str, filters: Filters) -> _Axis | None:
    """The axis along which a list in this order is read; None if it is read as a whole."""
    if query.index_ordered or query.unpartitioned:
        return None
    hour = timedelta(hours=1)
    if order == "created_at":
        return _Axis(
            col(query.table.created_at),
            "C",
            search_index.hour_number,
            hour,
            query.created_from,
            query.created_until,
        )
    # Other orders have no index per merchant: the sample of a merchant's next rows might read those of all others.
    if query.of_merchant:
        return None
    if order == "updated_at":
        return _Axis(
            col(query.table.updated_at), "U", search_index.hour_number, hour, filters.updated_gte, filters.updated_lte
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
    session: AsyncSession, query: SearchQuery[Any], axis: _Axis, *, descending: bool, position: Any
) -> list[ColumnElement[bool]]:
    """The conditions of the parts, in the order of the list. `position` is the value at which the page begins; None: the start."""
    sample = _Sample(*(await session.execute(_sample_statement(query, axis, descending, position))).one())
    owner = [_owner_token(query)] if (sample.owner_share or 0) < OWNER_SHARE_MAX else []
    if sample.rows < SAMPLE_ROWS:
        parts = [_scanned_part(query, axis, None, None)]
    else:
        parts = _parts_of_sample(query, axis, owner, sample, descending)
    unscheduled: list[ColumnElement[bool]] = []
    if axis.bucket_kind == "D" and not axis.first and not axis.last:
        unscheduled = [_unscheduled_part(query, owner)]
    if not descending:
        return [*parts, *unscheduled]
    return [*(unscheduled if position in (None, search_index.UNSCHEDULED_DAY) else []), *parts]


def _parts_of_sample(
    query: SearchQuery[Any], axis: _Axis, owner: Tsqueries, sample: _Sample, descending: bool
) -> list[ColumnElement[bool]]:
    # The second half of the sample tells the density better: its first row can be far from all others.
    length = 2 * abs(sample.far - sample.middle)
    first, *others = _part_bounds(sample.far, max(length, axis.shortest_bucket), descending)
    close = [*all_of([*query.tokens, *(query.ngrams or query.wide_tokens)]), *owner]
    distant_tokens = [*query.tokens, *query.wide_tokens]
    distant = [*all_of(distant_tokens), *owner]
    parts = [_token_part(query, axis, close, *first, near=sample.near)]
    if length * DENSE_FACTOR < axis.shortest_bucket or (query.wide_tokens and not query.ngrams):
        parts = [_scanned_part(query, axis, *first)]
    for number, bounds in enumerate(others, start=1):
        if _is_outside(axis, *bounds):
            continue
        if number == len(others) and not distant_tokens:
            # With the owner's token alone the lookup would collect all remaining rows.
            parts.append(_scanned_part(query, axis, *bounds))
        else:
            parts.append(_token_part(query, axis, close if number < CLOSE_PARTS else distant, *bounds))
    return parts


def _part_bounds(far: Any, length: timedelta, descending: bool) -> Iterator[tuple[Any, Any]]:
    """Begin and end of each part in the order of the column; the first part contains `far`. None is the end of the list."""
    # The end of a part is exclusive; `far` itself must be in the first.
    edges = [
        far if descending else _shifted(far, timedelta(days=1) if type(far) is date else timedelta(microseconds=1))
    ]
    for number in range(1, PARTS - 1):
        step = length * PART_GROWTH**number
        edges.append(_shifted(edges[-1], -step if descending else step))
    start = None
    for edge in [*edges, None]:
        yield (edge, start) if descending else (start, edge)
        start = edge


def _unscheduled_part(query: SearchQuery[Any], owner: Tsqueries) -> ColumnElement[bool]:
    return _by_tokens(
        query,
        [*all_of([*query.tokens, *query.wide_tokens]), *owner, *_UNSCHEDULED_BUCKET],
        [SCHEDULED_ORDER == NOT_SCHEDULED],
    )


def _owner_token(query: SearchQuery[Any]) -> str:
    return any_of([search_index.token("M" if query.of_merchant else "N", query.owner_id)])


def _sample_statement(query: SearchQuery[Any], axis: _Axis, descending: bool, position: Any) -> Select[Any]:
    """Reads a `_Sample`, from the index of the order alone."""
    column = axis.column
    next_rows = not_deleted(query.table).with_only_columns(column.label("at"))
    next_rows = next_rows.where(*query.owner_conditions, *axis.conditions)
    for start in (position, axis.last if descending else axis.first):
        if start is not None:
            next_rows = next_rows.where(column <= start if descending else column >= start)
    rows = next_rows.order_by(column.desc() if descending else column.asc()).limit(SAMPLE_ROWS).subquery()
    near, far = (func.max, func.min) if descending else (func.min, func.max)
    middle = func.percentile_disc(0.5).within_group(rows.c.at)
    share = _SHARE.bindparams(
        table_name=query.table.__tablename__,
        column_name="merchant_id" if query.of_merchant else "tenant_id",
        owner_id=known_uuid(query.owner_id),
    )
    return select(near(rows.c.at), middle, far(rows.c.at), func.count(), share)


def _scanned_part(query: SearchQuery[Any], axis: _Axis, begin: Any, end: Any) -> ColumnElement[bool]:
    """The matching rows from `begin` on and before `end`, found by a scan of the order's index."""
    conditions = [_owner_condition(query), *query.where, *matching(query.table, query.tokens)]
    return and_(*query.owner_conditions, *_bounds(axis, begin, end), _without_index(*conditions))


def _token_part(
    query: SearchQuery[Any], axis: _Axis, tokens: Tsqueries, begin: Any, end: Any, *, near: Any = None
) -> ColumnElement[bool]:
    """The matching rows from `begin` on and before `end`, found by tokens. `near` is the first value at an open end."""
    start, stop = begin or axis.first, end or axis.last
    if near is not None:
        start, stop = (start, stop or near) if begin else (start or near, stop)
    if start is not None and stop is not None:
        buckets = search_index.covering_tokens(axis.bucket_kind, axis.bucket_number(start), axis.bucket_number(stop))
        tokens = [*tokens, *any_bucket(buckets)]
    return _by_tokens(query, tokens or [_owner_token(query)], _bounds(axis, begin, end))


def _by_tokens(
    query: SearchQuery[Any], tokens: Tsqueries, bounds: Sequence[ColumnElement[bool]]
) -> ColumnElement[bool]:
    return and_(*matching(query.table, tokens), _without_index(_owner_condition(query), *bounds, *query.where))


def _owner_condition(query: SearchQuery[Any]) -> ColumnElement[bool]:
    condition = query.visible.whereclause
    assert condition is not None
    return condition


def _without_index(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """All of these conditions, in a form for which PostgreSQL uses no index: `(…) IS TRUE`.

    So the planner here decides how a list is read. PostgreSQL cannot know how tokens and order correlate; its estimates were wrong by a
    factor of a thousand.
    """
    return and_(*conditions).is_(true())


def _bounds(axis: _Axis, begin: Any, end: Any) -> list[ColumnElement[bool]]:
    start, stop = begin or axis.first, end or axis.last
    bounds: list[ColumnElement[bool]] = [*axis.conditions]
    if start is not None:
        bounds.append(axis.column >= start)
    if stop is not None:
        bounds.append(axis.column <= stop if end is None else axis.column < stop)
    return bounds


def _is_outside(axis: _Axis, begin: Any, end: Any) -> bool:
    """True if no value between `begin` and `end` can match."""
    before = end is not None and axis.first is not None and end <= axis.first
    return before or (begin is not None and axis.last is not None and begin > axis.last)


def _shifted(value: Any, step: timedelta) -> Any:
    """The value after `step`, or the first or last one of the calendar."""
    try:
        return value + step
    except OverflowError:
        end = date.max if step > timedelta() else date.min
        return datetime.combine(end, time(tzinfo=UTC)) if isinstance(value, datetime) else end
