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
from typing import Any

import asyncpg

from jobs import search_index
from jobs.job_store import NOT_DELETED
from jobs.search.query import SCHEDULED, UNSCHEDULED, SearchQuery, Tsqueries, any_bucket, any_of, as_one, matching
from jobs.search.schemas import Filters, JobFilters
from shared.ids import known_uuid
from shared.postgres.fragments import Sql, all_of, sql

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

_SHARE = """
    (
        SELECT known.share FROM pg_stats, unnest(CAST(CAST(most_common_vals AS text) AS uuid[]), most_common_freqs) AS known (id, share)
        WHERE schemaname = current_schema() AND tablename = {} AND attname = {} AND known.id = {}
    ) AS share
"""
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

    column: str
    bucket_kind: search_index.BucketKind
    bucket_number: Callable[[Any], int]
    """The number of the shortest bucket that contains a value."""
    shortest_bucket: timedelta
    first: Any
    last: Any
    """Bounds of the values that can match; None if unknown."""
    conditions: Sequence[Sql] = ()
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


def choose_axis(query: SearchQuery, order: str, filters: Filters) -> _Axis | None:
    """The axis along which a list in this order is read; None if it is read as a whole."""
    if query.index_ordered or query.unpartitioned:
        return None
    hour = timedelta(hours=1)
    if order == "created_at":
        return _Axis(
            "created_at",
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
        return _Axis("updated_at", "U", search_index.hour_number, hour, filters.updated_gte, filters.updated_lte)
    if isinstance(filters, JobFilters):
        first, last = filters.scheduled_date_gte, filters.scheduled_date_lte
        return _Axis(
            SCHEDULED,
            "D",
            search_index.day_number,
            timedelta(days=1),
            first,
            last,
            [sql(f"{SCHEDULED} < {UNSCHEDULED}")],
        )
    return None


async def plan_parts(
    driver: asyncpg.Connection, query: SearchQuery, axis: _Axis, *, descending: bool, position: Any
) -> list[Sql]:
    """The conditions of the parts, in the order of the list. `position` is the value at which the page begins; None: the start."""
    statement = _sample_statement(query, axis, descending, position)
    sample = _Sample(*await driver.fetchrow(statement.numbered(), *statement.values))
    owner = [_owner_token(query)] if (sample.owner_share or 0) < OWNER_SHARE_MAX else []
    if sample.rows < SAMPLE_ROWS:
        parts = [_scanned_part(query, axis, None, None)]
    else:
        parts = _parts_of_sample(query, axis, owner, sample, descending)
    unscheduled: list[Sql] = []
    if axis.bucket_kind == "D" and not axis.first and not axis.last:
        unscheduled = [_unscheduled_part(query, owner)]
    if not descending:
        return [*parts, *unscheduled]
    return [*(unscheduled if position in (None, search_index.UNSCHEDULED_DAY) else []), *parts]


def _parts_of_sample(query: SearchQuery, axis: _Axis, owner: Tsqueries, sample: _Sample, descending: bool) -> list[Sql]:
    # The second half of the sample tells the density better: its first row can be far from all others.
    length = 2 * abs(sample.far - sample.middle)
    first, *others = _part_bounds(sample.far, max(length, axis.shortest_bucket), descending)
    close = [*as_one([*query.tokens, *(query.ngrams or query.wide_tokens)]), *owner]
    distant_tokens = [*query.tokens, *query.wide_tokens]
    distant = [*as_one(distant_tokens), *owner]
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


def _unscheduled_part(query: SearchQuery, owner: Tsqueries) -> Sql:
    return _by_tokens(
        query,
        [*as_one([*query.tokens, *query.wide_tokens]), *owner, *_UNSCHEDULED_BUCKET],
        [sql(f"{SCHEDULED} = {UNSCHEDULED}")],
    )


def _owner_token(query: SearchQuery) -> str:
    return any_of([search_index.token("M" if query.of_merchant else "N", query.owner_id)])


def _sample_statement(query: SearchQuery, axis: _Axis, descending: bool, position: Any) -> Sql:
    """Reads a `_Sample`, from the index of the order alone."""
    conditions = [sql(NOT_DELETED), *query.owner_conditions, *axis.conditions]
    starts = (position, axis.last if descending else axis.first)
    conditions += [
        sql(f"{axis.column} {'<=' if descending else '>='} {{}}", start) for start in starts if start is not None
    ]
    near, far, direction = ("max", "min", "DESC") if descending else ("min", "max", "ASC")
    owner = "merchant_id" if query.of_merchant else "tenant_id"
    return sql(
        f"SELECT {near}(at), percentile_disc(0.5) WITHIN GROUP (ORDER BY at), {far}(at), count(*), {{}} FROM ("  # noqa: S608 - constants
        f"SELECT {axis.column} AS at FROM {query.name} WHERE {{}} ORDER BY {axis.column} {direction} LIMIT {{}}::integer"
        ") AS next_rows",
        sql(_SHARE, query.name, owner, known_uuid(query.owner_id)),
        all_of(conditions),
        SAMPLE_ROWS,
    )


def _scanned_part(query: SearchQuery, axis: _Axis, begin: Any, end: Any) -> Sql:
    """The matching rows from `begin` on and before `end`, found by a scan of the order's index."""
    conditions = [query.visible, *query.where, *matching(query.tokens)]
    return all_of([*query.owner_conditions, *_bounds(axis, begin, end), _without_index(*conditions)])


def _token_part(query: SearchQuery, axis: _Axis, tokens: Tsqueries, begin: Any, end: Any, *, near: Any = None) -> Sql:
    """The matching rows from `begin` on and before `end`, found by tokens. `near` is the first value at an open end."""
    start, stop = begin or axis.first, end or axis.last
    if near is not None:
        start, stop = (start, stop or near) if begin else (start or near, stop)
    if start is not None and stop is not None:
        buckets = search_index.covering_tokens(axis.bucket_kind, axis.bucket_number(start), axis.bucket_number(stop))
        tokens = [*tokens, *any_bucket(buckets)]
    return _by_tokens(query, tokens or [_owner_token(query)], _bounds(axis, begin, end))


def _by_tokens(query: SearchQuery, tokens: Tsqueries, bounds: Sequence[Sql]) -> Sql:
    return all_of([*matching(tokens), _without_index(query.visible, *bounds, *query.where)])


def _without_index(*conditions: Sql) -> Sql:
    """All of these conditions, in a form for which PostgreSQL uses no index: `(…) IS TRUE`.

    So the planner here decides how a list is read. PostgreSQL cannot know how tokens and order correlate; its estimates were wrong by a
    factor of a thousand.
    """
    return sql("({}) IS TRUE", all_of(conditions))


def _bounds(axis: _Axis, begin: Any, end: Any) -> list[Sql]:
    start, stop = begin or axis.first, end or axis.last
    bounds = [*axis.conditions]
    if start is not None:
        bounds.append(sql(f"{axis.column} >= {{}}", start))
    if stop is not None:
        bounds.append(sql(f"{axis.column} {'<=' if end is None else '<'} {{}}", stop))
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
