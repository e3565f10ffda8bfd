"""Lists of jobs and of actions, narrowed and in order, at a cost that hardly grows with the number of rows.

What an index has in the order asked for is walked. All else is looked up by its terms; but many rows may have these, of which a page
shows few. So such a list is read in parts, along its order: first as far as the next thousand rows reach, then as much farther as these
let expect will fill the page, and so on. The terms of a span of time (`domain.spans`) keep each part from looking at more than itself.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Literal, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped
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
GROWTH_MIN, GROWTH_MAX = 1.0, 30.0
"""How far the next part reaches, in times of all before it: as far as will fill the page, going by what these held."""
MARGIN = 1.5
"""So much farther, for what is found is never spread evenly."""
REACH_MAX = 300.0
"""In times of the first part: from there on the list is looked up to its end; after `GROWTH_MAX` already when nothing was found yet."""

_Way = Literal["walk", "look up", "either"]
"""How a list is to be read: along its order, by its terms, or as PostgreSQL thinks best, which cannot know how terms and order mix."""
_SETTINGS: Mapping[_Way, Mapping[str, str]] = {
    "walk": {"enable_bitmapscan": "off", "enable_indexscan": "on"},
    "look up": {"enable_bitmapscan": "on", "enable_indexscan": "off"},
    "either": {"enable_bitmapscan": "on", "enable_indexscan": "on"},
}

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
        await _read_by(session, "either")
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


async def _read_by(session: AsyncSession, way: _Way) -> None:
    # It stays with the connection, which knows how it was set.
    known = (await session.connection()).info
    if known.get("reads by") != way:
        settings = (func.set_config(name, value, False) for name, value in _SETTINGS[way].items())
        await session.execute(select(*settings))
        known["reads by"] = way


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
    await _read_by(session, "walk")
    edge, middle, rows = (await session.execute(_reach(question, axis, descending, position))).one()
    undated = [] if axis.kind != "D" or axis.first or axis.last else [_undated(question)]
    before = 0
    if descending and position in (None, spans.NEVER):
        for part in undated:
            before = yield part
    # The nearest rows are looked at one by one: to look them up can cost much more.
    cuts = _cuts(axis, edge, middle, descending) if rows == STRETCH_ROWS else _uncut()
    begin, end = next(cuts)
    found = (yield _part(question, axis, begin, end, covered=False)) - before
    await _read_by(session, "look up")
    with suppress(StopIteration):
        while True:
            begin, end = cuts.send((found, wanted - before - found))
            if not _outside(axis, begin, end):
                found = (yield _part(question, axis, begin, end, covered=True)) - before
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
    return and_(SCHEDULED == NOT_SCHEDULED, *having(question.rows, [*question.asked, _DAY_OF_NONE]))


def _reach(question: Question[Any], axis: _Axis, descending: bool, position: Any) -> Select[*tuple[Any, Any, int]]:
    """How far the next rows reach, whether they match or not; where the middle one is, and how many there are.

    From the middle on they tell better how close rows lie than from the first, which may be far from all others.
    """
    column = axis.column
    near = question.among.with_only_columns(column.label("at")).where(*axis.within)
    for start in (position, axis.last if descending else axis.first):
        if start is not None:
            near = near.where(column <= start if descending else column >= start)
    next_rows = near.order_by(column.desc() if descending else column.asc()).limit(STRETCH_ROWS).subquery()
    edge = func.min if descending else func.max
    return select(edge(next_rows.c.at), func.percentile_disc(0.5).within_group(next_rows.c.at), func.count())


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
