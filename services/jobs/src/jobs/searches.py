"""Lists of jobs and of actions, narrowed and in order, at a cost that hardly grows with the number of rows.

What an index has in the order asked for is walked. All else is looked up by its terms; but many rows may have these, of which a page
shows few. So such a list is read in parts, along its order: first as far as the next thousand rows reach, then as much farther as these
let expect will fill the page, and so on. The terms of a span of time (`domain.spans`) keep each part from looking at more than itself.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select, true
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
    within,
)
from jobs.domain import spans
from jobs.models.filters import ActionFilters, Filters, JobFilters
from jobs.models.inputs import Job
from jobs.models.tables import ActionRow, JobRow
from jobs.rows import action_of, kept, with_actions
from shared.auth.decisions import Caller
from shared.errors import Invalid
from shared.events.jobs import ActionState
from shared.http import Page, Paging, page

RowT = TypeVar("RowT", JobRow, ActionRow)
ItemT = TypeVar("ItemT")

STRETCH_ROWS = 1_000
"""How far so many rows reach tells how far a part has to reach."""
GROWTH_MIN, GROWTH_MAX = 1.0, 30.0
"""How far the next part reaches, in times of all before it: as far as will fill the page, going by what these held."""
MARGIN = 1.5
"""So much farther, for what is found is never spread evenly."""
REACH_MAX = 300.0
"""In times of the first part: from there on the list is looked up to its end; after `GROWTH_MAX` already when nothing was found yet."""

CROWD = 8
"""Where so many times the next thousand rows would fit into the shortest block of time, blocks keep too little away: these are walked."""

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
    statement = kept(question.rows)
    if axis is None:
        statement = question.among.where(*question.where, *having(question.rows, question.asked))
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
        each=question.each,
    )


# -- part by part ----------------------------------------------------------------------------------------------------------


def _axis(question: Question[RowT], order: str, filters: Filters) -> _Axis | None:
    """Along what a list in this order is cut; None when it is read as a whole."""
    if question.whole:
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
    session: AsyncSession, question: Question[Any], axis: _Axis, descending: bool, position: Any, wanted: int
) -> AsyncGenerator[ColumnElement[bool], int]:
    """The rows that match, from a position on, cut along an axis. It is told after each part how many were found so far."""
    near, middle, edge, rows = (await session.execute(_reach(question, axis, descending, position))).one()
    undated = [] if axis.kind != "D" or axis.first or axis.last else [_undated(question)]
    before = 0
    if descending and position in (None, spans.NEVER):
        for part in undated:
            before = yield part
    crowded = rows < STRETCH_ROWS or abs(edge - middle) * 2 * CROWD < axis.shortest
    cuts = _cuts(axis, edge, middle, descending) if rows == STRETCH_ROWS else _uncut()
    begin, end = next(cuts)
    first = _walked(question, axis, begin, end) if crowded else _looked_up(question, axis, begin, end, near)
    found = (yield first) - before
    with suppress(StopIteration):
        while True:
            begin, end = cuts.send((found, wanted - before - found))
            if not _outside(axis, begin, end):
                found = (yield _looked_up(question, axis, begin, end)) - before
    if not descending:
        for part in undated:
            yield part


_Cuts = Generator[tuple[Any, Any], tuple[int, int], None]


def _uncut() -> _Cuts:
    yield None, None


def _cuts(axis: _Axis, edge: Any, middle: Any, descending: bool) -> _Cuts:
    """Where each part begins and ends, the next rows lying as far as `edge`, half of them beyond `middle`. None is the end of the list.

    After each it is told how many were found so far, and how many are wanted still.
    """
    way = max(2 * abs(edge - middle), axis.shortest)
    if edge == middle and not descending:
        edge = _away(edge, axis.shortest)
    found, wanted = yield (edge, None) if descending else (None, edge)
    reach = 1.0
    # What is rarer than that is found sooner by itself than among the many of a long time.
    while reach < REACH_MAX and (found or reach < GROWTH_MAX):
        width = reach * min(max(MARGIN * wanted / found, GROWTH_MIN), GROWTH_MAX) if found else reach * GROWTH_MAX
        start, edge = edge, _away(edge, -width * way if descending else width * way)
        reach += width
        found, wanted = yield (edge, start) if descending else (start, edge)
    yield (None, edge) if descending else (edge, None)


def _undated(question: Question[Any]) -> ColumnElement[bool]:
    return _by_terms(question, [*question.asked, *_DAY_OF_NONE], [SCHEDULED == NOT_SCHEDULED])


def _reach(question: Question[Any], axis: _Axis, descending: bool, position: Any) -> Select[*tuple[Any, Any, Any, int]]:
    """Where the next rows are, whether they match or not: the nearest, the middle one and the farthest, and how many there are.

    From the middle on they tell better how close rows lie than from the first, which may be far from all others.
    """
    column = axis.column
    next_rows = question.among.with_only_columns(column.label("at")).where(*axis.within)
    for start in (position, axis.last if descending else axis.first):
        if start is not None:
            next_rows = next_rows.where(column <= start if descending else column >= start)
    rows = next_rows.order_by(column.desc() if descending else column.asc()).limit(STRETCH_ROWS).subquery()
    near, far = (func.max, func.min) if descending else (func.min, func.max)
    middle = func.percentile_disc(0.5).within_group(rows.c.at)
    return select(near(rows.c.at), middle, far(rows.c.at), func.count())


def _walked(question: Question[Any], axis: _Axis, begin: Any, end: Any) -> ColumnElement[bool]:
    """The rows that match from `begin` on and before `end`, read along the order."""
    by_terms = having(question.rows, question.asked)
    return and_(_whose(question), *_bounds(axis, begin, end), *question.where, _unindexed(true(), *by_terms))


def _looked_up(question: Question[Any], axis: _Axis, begin: Any, end: Any, near: Any = None) -> ColumnElement[bool]:
    """The same, found by terms; `near` is where those begin that lie at an open end."""
    start, stop = begin or axis.first, end or axis.last
    if near is not None:
        start, stop = (start, stop or near) if begin else (start or near, stop)
    asked = [*question.asked, any_of([question.owner])]
    if start is not None and stop is not None:
        asked += within(spans.covering(axis.kind, axis.number(start), axis.number(stop)))
    return _by_terms(question, asked, _bounds(axis, begin, end))


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
