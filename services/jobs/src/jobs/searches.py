"""Lists of jobs and of actions, narrowed and in order, at a cost that hardly grows with the number of rows.

What an index has in the order asked for is walked. All else is looked up by its terms; but many rows may have these, of which a page
shows few. So such a list is read in parts, along its order: first as far as the next thousand rows reach, then ten times as far, and
so on until the page is full. The terms of a span of time (`domain.spans`) keep each part from looking at more than itself.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.conditions import NOT_SCHEDULED, SCHEDULED, Question, about_actions, about_jobs, having
from jobs.domain import spans
from jobs.models.filters import ActionFilters, Filters, JobFilters
from jobs.models.inputs import Job
from jobs.models.tables import ActionRow, JobRow
from jobs.rows import action_of, with_actions
from shared.auth.decisions import Caller
from shared.errors import Invalid
from shared.events.jobs import ActionState
from shared.http import Page, Paging, page

RowT = TypeVar("RowT", JobRow, ActionRow)
ItemT = TypeVar("ItemT")

STRETCH_ROWS = 1_000
"""How far so many rows reach tells how far a part has to reach."""
STRETCHES = (10, 100)
"""How far the parts reach that follow these rows, in times of that; the last part goes to the end."""

_PLAN = text("SELECT set_config('plan_cache_mode', :cached, false), set_config('enable_bitmapscan', :looks_up, false)")
_EACH: Mapping[str, str] = {"cached": "force_custom_plan", "looks_up": "on"}
"""One plan for all questions would look for a frequent term as if it were rare, and read a large part of the table."""
_WALKING: Mapping[str, str] = {**_EACH, "looks_up": "off"}
_AS_USUAL: Mapping[str, str] = {"cached": "auto", "looks_up": "on"}

_DAY_OF_NONE = spans.covering("D", spans.day(spans.NEVER), spans.day(spans.NEVER))


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
    statement = question.among.where(*question.where)
    axis = _axis(question, order, filters)
    if axis is None:
        statement = statement.where(*having(question.rows, question.asked))
    # A position among one merchant's rows means nothing among another's.
    whose = caller.subject_id if caller.row_scope == "own" else None
    async with _planned_for_its_values(session):
        return await page(
            session,
            statement,
            paging,
            by=[SCHEDULED if order == "scheduled_date" else col(getattr(question.rows, order)), col(question.rows.id)],
            view=view,
            descending=descending,
            filters=[whose, caller.livemode, filters.model_dump(mode="json", exclude={"limit", "cursor"})],
            parts=None if axis is None else partial(_parts, session, question, axis, descending),
        )


@asynccontextmanager
async def _planned_for_its_values(session: AsyncSession) -> AsyncIterator[None]:
    connection = await session.connection()
    await session.execute(_PLAN, _EACH)
    try:
        yield
    finally:
        # A connection that was cut off in the middle of a statement is never used again.
        if not connection.invalidated:
            await session.execute(_PLAN, _AS_USUAL)


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
    session: AsyncSession, question: Question[Any], axis: _Axis, descending: bool, position: Any
) -> AsyncGenerator[ColumnElement[bool], None]:
    """The rows that match, from a position on, cut along an axis."""
    low, high, rows = (await session.execute(_reach(question, axis, descending, position))).one()
    nearest, *others = _cuts(axis, low, high, descending) if rows == STRETCH_ROWS else [(None, None)]
    undated = [] if axis.kind != "D" or axis.first or axis.last else [_undated(question)]
    if descending and position in (None, spans.NEVER):
        for part in undated:
            yield part
    # The nearest rows are looked at one by one: to look them up can cost much more, and PostgreSQL cannot tell. Of one day may be many.
    if axis.kind != "D":
        await session.execute(_PLAN, _WALKING)
    yield _part(question, axis, *nearest, covered=False)
    await session.execute(_PLAN, _EACH)
    for begin, end in others:
        if not _outside(axis, begin, end):
            yield _part(question, axis, begin, end, covered=True)
    if not descending:
        for part in undated:
            yield part


def _cuts(axis: _Axis, low: Any, high: Any, descending: bool) -> list[tuple[Any, Any]]:
    """Where each part begins and ends, the next rows lying from `low` to `high`. None is the end of the list, on either side."""
    way = max(high - low, axis.shortest)
    if descending:
        edges = [low, *(_away(high, -times * way) for times in STRETCHES)]
        return [(edges[0], None), *((end, begin) for begin, end in pairwise(edges)), (None, edges[-1])]
    edges = [high, *(_away(low, times * way) for times in STRETCHES)]
    return [(None, edges[0]), *pairwise(edges), (edges[-1], None)]


def _undated(question: Question[Any]) -> ColumnElement[bool]:
    return and_(SCHEDULED == NOT_SCHEDULED, *having(question.rows, [*question.asked, _DAY_OF_NONE]))


def _reach(question: Question[Any], axis: _Axis, descending: bool, position: Any) -> Select[*tuple[Any, Any, int]]:
    """From where to where the next rows lie, whether they match or not, and how many these are."""
    column = axis.column
    near = question.among.with_only_columns(column.label("at")).where(*axis.within)
    for start in (position, axis.last if descending else axis.first):
        if start is not None:
            near = near.where(column <= start if descending else column >= start)
    next_rows = near.order_by(column.desc() if descending else column.asc()).limit(STRETCH_ROWS).subquery()
    return select(func.min(next_rows.c.at), func.max(next_rows.c.at), func.count())


def _part(question: Question[Any], axis: _Axis, begin: Any, end: Any, *, covered: bool) -> ColumnElement[bool]:
    """The rows that match from `begin` on and before `end`."""
    start, stop = begin or axis.first, end or axis.last
    bounds: list[ColumnElement[bool]] = [*axis.within]
    if start is not None:
        bounds.append(axis.column >= start)
    if stop is not None:
        bounds.append(axis.column <= stop if end is None else axis.column < stop)
    asked = [*question.asked]
    if covered and start is not None and stop is not None:
        asked += [[question.owner], spans.covering(axis.kind, axis.number(start), axis.number(stop))]
    elif covered and question.of_merchant:
        asked.append([question.owner])
    return and_(true(), *bounds, *having(question.rows, asked))


def _outside(axis: _Axis, begin: Any, end: Any) -> bool:
    before = end is not None and axis.first is not None and end <= axis.first
    return before or (begin is not None and axis.last is not None and begin > axis.last)


def _away(start: Any, way: timedelta) -> Any:
    try:
        return start + way
    except OverflowError:
        end = date.max if way > timedelta() else date.min
        return datetime.combine(end, time(tzinfo=UTC)) if isinstance(start, datetime) else end
