"""Lists of jobs and of actions, narrowed and in order, at a cost that hardly grows with the number of rows.

What an index has in the order asked for is walked. All else is looked up by its terms; but many rows may have these, of which a page
shows few. So such a list is read in parts, along its order: first as far as the next thousand rows reach, then as much farther as these
let expect will fill the page, and so on. The terms of a span of time (`domain.spans`) keep each part from looking at more than itself.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped
from sqlmodel import col

from jobs.conditions import (
    NOT_SCHEDULED,
    SCHEDULED,
    Asked,
    Question,
    about_actions,
    about_jobs,
    any_of,
    having,
    together,
    within,
)
from jobs.domain import spans, terms
from jobs.models.filters import ActionFilters, Filters, JobFilters
from jobs.models.inputs import Job
from jobs.models.tables import ActionRow, JobRow
from jobs.rows import action_of, kept, with_actions
from shared.access.principals import Caller
from shared.api import Page, Paging, page
from shared.errors import Invalid
from shared.events.jobs import ActionState
from shared.ids import known_uuid

RowT = TypeVar("RowT", JobRow, ActionRow)
ItemT = TypeVar("ItemT")

STRETCH_ROWS = 1_000
"""How far so many rows reach, so far the first part does."""
GROWTH = 6
"""Each part reaches so many times as far as the one before: no more than that times the rows of a page are read to be left out."""
PARTS = 5
"""The last goes to the end of the list: what is not found by then is so rare that the whole list has few of it."""
CLOSE_PARTS = 3
"""So many of them are short enough to look for pieces, which more rows have than match."""
OWNER_SHARE_MAX = 0.3
"""Of all rows. Whose they are is compared row by row where an owner has more: to meet each row in so long a list costs more."""
CROWD = 8
"""Where so many times the next thousand rows would fit into the shortest block of time, blocks keep too little away: these are walked."""

_SHARE = text(
    """
    (
        SELECT known.share FROM pg_stats, unnest(CAST(CAST(most_common_vals AS text) AS uuid[]), most_common_freqs) AS known (id, share)
        WHERE schemaname = current_schema() AND tablename = :table_name AND attname = :column_name AND known.id = :owner_id
    ) AS share
    """
)
_DAY_OF_NONE = within(spans.covering("D", spans.day(spans.NEVER), spans.day(spans.NEVER)))


@dataclass(frozen=True, slots=True)
class _Axis:
    """An order along which a list is cut into parts."""

    column: Any
    kind: spans.Kind
    number: Callable[[Any], int]
    """Of the shortest block in which a value lies."""
    shortest: timedelta
    first: Any
    last: Any
    """Between which all lies that can match; None where that is not known."""
    within: Sequence[ColumnElement[bool]] = ()
    """What is cut, where that is not all rows."""


async def jobs(session: AsyncSession, caller: Caller, filters: JobFilters, paging: Paging) -> Page[Job]:
    """A page of the jobs that match. Raises `Invalid` when a merchant filters by merchant."""
    _require_own_scope(caller, filters)
    rows = await _page(session, caller, about_jobs(caller, filters), filters, paging, lambda row: row)
    return Page(data=await with_actions(session, rows.data), has_more=rows.has_more, next_cursor=rows.next_cursor)


async def actions(session: AsyncSession, caller: Caller, filters: ActionFilters, paging: Paging) -> Page[ActionState]:
    """A page of the actions that match. Raises `Invalid` when a merchant filters by merchant."""
    _require_own_scope(caller, filters)
    return await _page(session, caller, about_actions(caller, filters), filters, paging, action_of)


def _require_own_scope(caller: Caller, filters: Filters) -> None:
    if filters.merchant_id is not None and caller.row_scope == "own":
        message = "merchants see what is their own: this filter is for administrators"
        raise Invalid("the request is not valid: see errors", filters.violation("merchant_id", "not_allowed", message))


async def _page(
    session: AsyncSession,
    caller: Caller,
    question: Question[RowT],
    filters: JobFilters | ActionFilters,
    paging: Paging,
    view: Callable[[RowT], ItemT],
) -> Page[ItemT]:
    order, descending = filters.sort.removeprefix("-"), filters.sort.startswith("-")
    axis = _axis(question, order, filters)
    await _plan(session, for_values=axis is None)
    statement = kept(question.rows)
    if axis is None:
        statement = question.among.where(*question.where, *having(question.rows, [*question.asked, *question.gathered]))
    by: list[ColumnElement[Any] | Mapped[Any]] = [col(getattr(question.rows, order)), col(question.rows.id)]
    if order == "scheduled_date":
        # Of one day are many: as its index has them.
        by = [SCHEDULED, col(question.rows.created_at), col(question.rows.id)]
    # A position among one merchant's rows means nothing among another's.
    whose = caller.subject_id if caller.row_scope == "own" else None
    return await page(
        session,
        statement,
        paging,
        by=by,
        view=view,
        descending=descending,
        filters=[whose, caller.livemode, filters.model_dump(mode="json", exclude={"limit", "cursor"})],
        parts=None if axis is None else partial(_parts, session, question, axis, descending),
        expensive_filter=question.doubted,
        each=question.each,
    )


async def _plan(session: AsyncSession, *, for_values: bool) -> None:
    """Have statements planned for their values; or once for all, where they say by their form how they are to be read.

    To plan one takes as long as to answer it.
    """
    mode = "force_custom_plan" if for_values else "force_generic_plan"
    # It stays with the connection, which knows how it was set.
    known = (await session.connection()).info
    if known.get("plans") != mode:
        await session.execute(select(func.set_config("plan_cache_mode", mode, False)))
        known["plans"] = mode


# -- part by part ----------------------------------------------------------------------------------------------------------


def _axis(question: Question[RowT], order: str, filters: Filters) -> _Axis | None:
    """Along what a list in this order is cut; None when it is read as a whole."""
    if question.in_order or question.whole:
        return None
    hour = timedelta(hours=1)
    if order == "created_at":
        return _Axis(col(question.rows.created_at), "C", spans.hour, hour, question.first, question.last)
    # No other index is in order for one merchant: to see how far its next rows reach might take reading all others'.
    if question.of_merchant:
        return None
    if order == "updated_at":
        return _Axis(col(question.rows.updated_at), "U", spans.hour, hour, filters.updated_gte, filters.updated_lte)
    if isinstance(filters, JobFilters):
        first, last = filters.scheduled_date_gte, filters.scheduled_date_lte
        return _Axis(SCHEDULED, "D", spans.day, timedelta(days=1), first, last, [SCHEDULED < NOT_SCHEDULED])
    return None


async def _parts(
    session: AsyncSession, question: Question[Any], axis: _Axis, descending: bool, position: Any
) -> AsyncGenerator[Sequence[ColumnElement[bool]], None]:
    """The rows that match, from a position on, cut along an axis."""
    near, middle, far, rows, share = (await session.execute(_reach(question, axis, descending, position))).one()
    owner = [_owner_term(question)] if (share or 0) < OWNER_SHARE_MAX else []
    if rows < STRETCH_ROWS:
        parts = [_walked(question, axis, None, None)]
    else:
        # From the middle on they tell better how close rows lie than from the first, which may be far from all others.
        way = 2 * abs(far - middle)
        first, *others = _cuts(far, max(way, axis.shortest), descending)
        walked = way * CROWD < axis.shortest or (question.gathered and not question.pieces)
        close = [*together([*question.asked, *(question.pieces or question.gathered)]), *owner]
        distant_asked = [*question.asked, *question.gathered]
        distant = [*together(distant_asked), *owner]
        parts = [
            _walked(question, axis, *first) if walked else _looked_up(question, axis, close, *first, near),
            *(
                # By whose it is alone, all that is left would be gathered.
                _walked(question, axis, *part)
                if number == len(others) and not distant_asked
                else _looked_up(question, axis, close if number < CLOSE_PARTS else distant, *part)
                for number, part in enumerate(others, start=1)
                if not _outside(axis, *part)
            ),
        ]
    undated = [] if axis.kind != "D" or axis.first or axis.last else [_undated(question, owner)]
    if not descending:
        yield [*parts, *undated]
    else:
        yield [*(undated if position in (None, spans.NEVER) else []), *parts]


def _cuts(far: Any, way: timedelta, descending: bool) -> Iterator[tuple[Any, Any]]:
    """Where each part begins and ends, the first reaching as far as `far`. None is the end of the list."""
    # A part ends before its edge: at least one value has to lie before the first.
    edges = [far if descending else _away(far, timedelta(days=1) if type(far) is date else timedelta(microseconds=1))]
    for number in range(1, PARTS - 1):
        edges.append(_away(edges[-1], -way * GROWTH**number if descending else way * GROWTH**number))
    start = None
    for edge in [*edges, None]:
        yield (edge, start) if descending else (start, edge)
        start = edge


def _undated(question: Question[Any], owner: Asked) -> ColumnElement[bool]:
    return _by_terms(
        question,
        [*together([*question.asked, *question.gathered]), *owner, *_DAY_OF_NONE],
        [SCHEDULED == NOT_SCHEDULED],
    )


def _owner_term(question: Question[Any]) -> str:
    return any_of([terms.term("M" if question.of_merchant else "N", question.owner_id)])


def _reach(question: Question[Any], axis: _Axis, descending: bool, position: Any) -> Select[Any]:
    """Where the next rows are, whether they match or not: the nearest, the middle one and the farthest, and how many there are.

    And which share of all rows is the owner's, where it is large enough for PostgreSQL to know it.
    """
    column = axis.column
    next_rows = kept(question.rows).with_only_columns(column.label("at"))
    next_rows = next_rows.where(*question.owned, *axis.within)
    for start in (position, axis.last if descending else axis.first):
        if start is not None:
            next_rows = next_rows.where(column <= start if descending else column >= start)
    rows = next_rows.order_by(column.desc() if descending else column.asc()).limit(STRETCH_ROWS).subquery()
    near, far = (func.max, func.min) if descending else (func.min, func.max)
    middle = func.percentile_disc(0.5).within_group(rows.c.at)
    share = _SHARE.bindparams(
        table_name=question.rows.__tablename__,
        column_name="merchant_id" if question.of_merchant else "tenant_id",
        owner_id=known_uuid(question.owner_id),
    )
    return select(near(rows.c.at), middle, far(rows.c.at), func.count(), share)


def _walked(question: Question[Any], axis: _Axis, begin: Any, end: Any) -> ColumnElement[bool]:
    """The rows that match from `begin` on and before `end`, read along the order."""
    conditions = [_whose(question), *question.where, *having(question.rows, question.asked)]
    return and_(*question.owned, *_bounds(axis, begin, end), _unindexed(*conditions))


def _looked_up(
    question: Question[Any], axis: _Axis, asked: Asked, begin: Any, end: Any, near: Any = None
) -> ColumnElement[bool]:
    """The same, found by terms; `near` is where those begin that lie at an open end."""
    start, stop = begin or axis.first, end or axis.last
    if near is not None:
        start, stop = (start, stop or near) if begin else (start or near, stop)
    if start is not None and stop is not None:
        asked = [*asked, *within(spans.covering(axis.kind, axis.number(start), axis.number(stop)))]
    return _by_terms(question, asked or [_owner_term(question)], _bounds(axis, begin, end))


def _by_terms(question: Question[Any], asked: Asked, bounds: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    return and_(*having(question.rows, asked), _unindexed(_whose(question), *bounds, *question.where))


def _whose(question: Question[Any]) -> ColumnElement[bool]:
    whose = question.among.whereclause
    assert whose is not None
    return whose


def _unindexed(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
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


def _outside(axis: _Axis, begin: Any, end: Any) -> bool:
    before = end is not None and axis.first is not None and end <= axis.first
    return before or (begin is not None and axis.last is not None and begin > axis.last)


def _away(start: Any, way: timedelta) -> Any:
    try:
        return start + way
    except OverflowError:
        end = date.max if way > timedelta() else date.min
        return datetime.combine(end, time(tzinfo=UTC)) if isinstance(start, datetime) else end
