"""Deliveries as administrators see them."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    Uuid,
    and_,
    any_,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased
from sqlmodel import col

from shared.access.principals import Caller
from shared.api import Page, Paging, page
from shared.errors import NotFound
from shared.ids import first_id_at, from_uuid, to_uuid
from shared.postgres.column_types import TypedId
from webhooks import events
from webhooks.deliveries.rules import delivery_id as delivery_id_of
from webhooks.deliveries.schemas import (
    Delivery,
    DeliveryFilters,
    DeliveryStatus,
    ResponseClass,
)
from webhooks.deliveries.tables import DeliveryRow
from webhooks.endpoints import visible_to
from webhooks.events import EventRow
from webhooks.postgres import first_id_of_day, made_at

STRETCHES = (250, 1_000, 3_750)
"""Deliveries that a page with unindexed filters examines, step by step; after the last step the page ends as it is."""
DELIVERIES_PER_EVENT = 10
"""For a job the events are limited, too, to a part of the step: an event has a delivery for each endpoint that wanted it."""
SPAN_DAYS = (0, 7)
"""A page reads the partitions of its first day, then those of so many days before it, then all older ones."""


async def list_deliveries(
    session: AsyncSession, caller: Caller, paging: Paging, asked: DeliveryFilters, *, now: datetime
) -> Page[Delivery]:
    """The caller's deliveries, newest first, from `created_from` (inclusive) to `created_before` (exclusive).

    Endpoint, event, time range, cause and the statuses `pending` and `failed` have indexes in this order, and so have the events of a job
    and of a reference. The other filters examine a limited number of deliveries for each page: a page may be short or empty and still have
    a next one.
    """
    among = [visible_to(caller, DeliveryRow)]
    if asked.endpoint_id is not None:
        among.append(col(DeliveryRow.endpoint_id) == asked.endpoint_id)
    if asked.event_id is not None:
        among.append(col(DeliveryRow.event_id) == asked.event_id)
    if asked.cause is not None:
        among.append(col(DeliveryRow.cause) == asked.cause)
    elif asked.status is not None and asked.status != "delivered":
        # Repeats the condition of the partial index, so that PostgreSQL uses it.
        among += [col(DeliveryRow.status) == asked.status, col(DeliveryRow.status) != literal_column("'delivered'")]
    if asked.created_from is not None:
        among.append(col(DeliveryRow.event_id) >= from_uuid("evt", first_id_at(asked.created_from)))
    if asked.created_before is not None:
        among.append(col(DeliveryRow.event_id) < from_uuid("evt", first_id_at(asked.created_before)))
    newest = min(asked.created_before or now, now)
    wanted = _UnindexedFilters(
        event_type=asked.event_type,
        status=asked.status if asked.status == "delivered" or asked.cause is not None else None,
        response_class=asked.response_class,
        response_status=asked.response_status,
        location_id=None if asked.location_id is None else to_uuid(asked.location_id),
    )
    of_job = _events_of_job(caller, asked)
    filters = {**asked.model_dump(), "livemode": caller.livemode}
    if wanted == _UnindexedFilters() and of_job is None:
        keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
        statement = select(DeliveryRow).where(*among)
        found = await page(
            session, statement, paging, by=keys, view=view, filters=filters, parts=partial(_parts, newest)
        )
    else:
        found = await _look_through(session, among, of_job, wanted, paging, filters, newest)
    found.data = await with_jobs(session, found.data)
    return found


async def with_jobs(session: AsyncSession, listed: list[Delivery]) -> list[Delivery]:
    """These deliveries with the jobs, merchants and locations of their events."""
    subjects = await events.get_subjects(session, [to_uuid(one.event_id) for one in listed])
    for one in listed:
        subject = subjects.get(to_uuid(one.event_id))
        if subject is not None:
            one.job_id, one.job_reference = subject.job_id, subject.job_reference
            one.merchant_id, one.location_ids = subject.merchant_id, subject.location_ids
    return listed


async def get_row(session: AsyncSession, caller: Caller, delivery_id: str) -> DeliveryRow:
    """The row with this public id. Raises `NotFound`.

    The id begins with the millisecond of the event, and the rest is a digest of event and endpoint: the row is found by both.
    """
    wanted = to_uuid(delivery_id)
    first = wanted.int >> 80
    statement = select(DeliveryRow).where(
        visible_to(caller, DeliveryRow),
        col(DeliveryRow.event_id) >= from_uuid("evt", UUID(int=first << 80)),
        col(DeliveryRow.event_id) < from_uuid("evt", UUID(int=first + 1 << 80)),
    )
    for row in (await session.execute(statement)).scalars():
        if _id(row) == delivery_id:
            return row
    raise NotFound("no delivery with this id", code="delivery_not_found")


def _id(row: DeliveryRow) -> str:
    return from_uuid("dlv", delivery_id_of(to_uuid(row.event_id), to_uuid(row.endpoint_id)))


def view(row: DeliveryRow) -> Delivery:
    created_at = made_at(to_uuid(row.event_id))
    return Delivery(
        id=_id(row),
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=row.event_type,
        job_id=None,
        job_reference=None,
        merchant_id=None,
        location_ids=[],
        status=row.status,
        attempts_made=row.attempts_made,
        response_status=row.response_status,
        cause=row.cause,
        cause_detail=row.cause_detail,
        next_attempt_at=row.next_attempt_at,
        delivered_at=row.finished_at if row.status == "delivered" else None,
        failed_at=row.finished_at if row.status == "failed" else None,
        failure=row.failure,
        livemode=row.livemode,
        created_at=created_at,
        updated_at=row.finished_at or row.started_at or created_at,
    )


# -- lists ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """A range of days of the list: planning for the partitions of all days takes longer than reading a page."""

    begin: UUID | None
    end: UUID | None

    def holds(self, event_id: Any) -> ColumnElement[bool]:
        """The condition that the event with this id is in the range."""
        begins = true() if self.begin is None else event_id >= literal(self.begin, Uuid())
        return and_(begins, true() if self.end is None else event_id < literal(self.end, Uuid()))


def _spans(newest: datetime) -> Iterator[_Span]:
    """The day of this instant and all later ones, then `SPAN_DAYS` before it, then all older days."""
    end = None
    for days in SPAN_DAYS:
        begin = first_id_of_day(newest, days_before=days)
        yield _Span(begin, end)
        end = begin
    yield _Span(None, end)


async def _parts(newest: datetime, first: str | None) -> AsyncGenerator[ColumnElement[bool], None]:
    for span in _spans(newest if first is None else made_at(to_uuid(first))):
        yield span.holds(col(DeliveryRow.event_id))


@dataclass(frozen=True, slots=True)
class _UnindexedFilters:
    """Filters for which there is no index in the order of the list."""

    event_type: str | None = None
    status: DeliveryStatus | None = None
    response_class: ResponseClass | None = None
    response_status: int | None = None
    location_id: UUID | None = None

    def of(self, looked_at: CTE, span: _Span) -> list[ColumnElement[bool]]:
        """The filters as conditions on the examined rows."""
        conditions: list[ColumnElement[bool]] = []
        if self.event_type is not None:
            conditions.append(looked_at.c.event_type == self.event_type)
        if self.status is not None:
            conditions.append(looked_at.c.status == self.status)
        if self.response_class is not None:
            first = int(self.response_class[0]) * 100
            conditions.append(looked_at.c.response_status.between(first, first + 99))
        if self.response_status is not None:
            conditions.append(looked_at.c.response_status == self.response_status)
        if self.location_id is not None:
            # By the key of the event, for each row: as a join PostgreSQL might read all events.
            event_id = col(EventRow.id)
            at_location = select(literal(self.location_id) == any_(col(EventRow.location_ids)))
            of_event = at_location.where(event_id == looked_at.c.event_id, span.holds(event_id)).limit(1)
            conditions.append(of_event.scalar_subquery().is_(True))
        return conditions


async def _look_through(
    session: AsyncSession,
    among: Sequence[ColumnElement[bool]],
    of_job: ColumnElement[bool] | None,
    wanted: _UnindexedFilters,
    paging: Paging,
    filters: object,
    newest: datetime,
) -> Page[Delivery]:
    """A page of the `wanted` deliveries `among` the caller's. It examines `STRETCHES` rows; the next page continues there.

    `of_job` is the condition of the events of a job: then only their deliveries are examined.
    """
    asked = [filters, True]
    position = paging.position(asked)
    spans = _spans(newest if position is None else made_at(to_uuid(position[0])))
    span: _Span | None = next(spans)
    stretches = iter(STRETCHES)
    stretch, left = next(stretches), sum(STRETCHES)
    found: list[DeliveryRow] = []
    while span is not None and left and len(found) <= paging.limit:
        rows_max = min(stretch, left)
        beyond = _beyond(position)
        looked_at, more = (
            _of_caller([*among, *beyond], span, rows_max)
            if of_job is None
            else _of_job(of_job, position, [*among, *beyond], span, rows_max)
        )
        statement = _stretch(looked_at, more, span, wanted, paging.limit + 1 - len(found))
        rows = (await session.execute(statement)).all()
        found += [row[0] for row in rows if row[0] is not None]
        left -= rows_max if rows[0].more else rows[0].examined
        if rows[0].examined:
            position = [rows[0].last_event_id, rows[0].last_endpoint_id]
        if not rows[0].more:
            span = next(spans, None)
        else:
            stretch = next(stretches, stretch)
    has_more = span is not None or len(found) > paging.limit
    if len(found) > paging.limit:
        last = found[paging.limit - 1]
        position = [last.event_id, last.endpoint_id]
    cursor = paging.cursor_after(position or [], asked) if has_more else None
    return Page(data=[view(row) for row in found[: paging.limit]], has_more=has_more, next_cursor=cursor)


def _beyond(position: Sequence[str] | None) -> list[ColumnElement[bool]]:
    if position is None:
        return []
    keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
    values = (literal(position[0], TypedId("evt")), literal(position[1], TypedId("ep")))
    # The first condition lets PostgreSQL leave out the partitions of later days.
    return [keys[0] <= values[0], tuple_(*keys) < tuple_(*values)]


def _events_of_job(caller: Caller, asked: DeliveryFilters) -> ColumnElement[bool] | None:
    """The condition of the events of the jobs that are asked for; None: of all."""
    if asked.job_id is None and asked.job_reference is None:
        return None
    event_id = col(EventRow.id)
    conditions = [
        col(EventRow.tenant_id) == to_uuid(caller.tenant_id),
        col(EventRow.livemode) == caller.livemode,
    ]
    if asked.job_id is not None:
        conditions.append(col(EventRow.subject) == asked.job_id)
    if asked.job_reference is not None:
        conditions.append(col(EventRow.reference) == asked.job_reference)
    if asked.event_id is not None:
        conditions.append(event_id == to_uuid(asked.event_id))
    if asked.created_from is not None:
        conditions.append(event_id >= first_id_at(asked.created_from))
    if asked.created_before is not None:
        conditions.append(event_id < first_id_at(asked.created_before))
    return and_(*conditions)


def _of_caller(among: Sequence[ColumnElement[bool]], span: _Span, rows_max: int) -> tuple[CTE, ColumnElement[bool]]:
    """The first `rows_max` deliveries of a span, and whether there may be more."""
    keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
    first_ones = select(*keys, *_examined_columns()).where(*among, span.holds(keys[0]))
    looked_at = _fixed(first_ones.order_by(*(key.desc() for key in keys)).limit(rows_max), "looked_at")
    return looked_at, _count_of(looked_at) == rows_max


def _of_job(
    of_job: ColumnElement[bool],
    position: Sequence[str] | None,
    among: Sequence[ColumnElement[bool]],
    span: _Span,
    rows_max: int,
) -> tuple[CTE, ColumnElement[bool]]:
    """The first deliveries of the events of a job in a span, and whether there may be more.

    An event without any is examined, too: its row has no status, and an endpoint before all others.
    """
    event_id, events_max = col(EventRow.id), max(2, rows_max // DELIVERIES_PER_EVENT)
    after = true() if position is None else event_id <= literal(position[0], TypedId("evt"))
    of_span = select(event_id).where(of_job, span.holds(event_id), after).order_by(event_id.desc())
    of_job_events = _fixed(of_span.limit(events_max), "events_of_job")
    # With a limit PostgreSQL reads them event by event: as a join it might read all deliveries.
    deliveries = (
        select(col(DeliveryRow.endpoint_id), *_examined_columns())
        .where(*among, col(DeliveryRow.event_id) == of_job_events.c.id, span.holds(col(DeliveryRow.event_id)))
        .order_by(col(DeliveryRow.endpoint_id).desc())
        .limit(rows_max)
        .correlate(of_job_events)
        .lateral("of_event")
    )
    endpoint_id = func.coalesce(deliveries.c.endpoint_id, literal(UUID(int=0), Uuid()))
    keys = (
        type_coerce(of_job_events.c.id, TypedId("evt")).label("event_id"),
        type_coerce(endpoint_id, TypedId("ep")).label("endpoint_id"),
    )
    examined = (deliveries.c.event_type, deliveries.c.status, deliveries.c.response_status)
    rows = select(*keys, *examined).select_from(of_job_events.outerjoin(deliveries, true()))
    looked_at = _fixed(rows.order_by(*(key.desc() for key in keys)).limit(rows_max), "looked_at")
    return looked_at, or_(_count_of(of_job_events) == events_max, _count_of(looked_at) == rows_max)


def _examined_columns() -> tuple[Mapped[Any], ...]:
    """What `_UnindexedFilters` need of a delivery."""
    return (col(DeliveryRow.event_type), col(DeliveryRow.status), col(DeliveryRow.response_status))


def _count_of(rows: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(rows).scalar_subquery()


def _stretch(
    looked_at: CTE, more: ColumnElement[bool], span: _Span, wanted: _UnindexedFilters, found_max: int
) -> Select[Any]:
    """Examines these rows of a span.

    Each row of the result has the number of examined rows, whether there may be `more`, the last one, and a wanted one.
    """
    keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
    ends = (looked_at.c.event_id, looked_at.c.endpoint_id)
    newest_first = [end.desc() for end in ends]
    are_wanted = (looked_at.c.status.is_not(None), *wanted.of(looked_at, span))
    found = _fixed(select(*ends).where(*are_wanted).order_by(*newest_first).limit(found_max), "found")
    same = (keys[0] == found.c.event_id, keys[1] == found.c.endpoint_id, span.holds(keys[0]))
    one = select(DeliveryRow).where(*same).limit(1).correlate(found).lateral("one")
    reach = select(_count_of(looked_at).label("examined"), more.label("more")).subquery("reach")
    oldest = select(ends[0].label("last_event_id"), ends[1].label("last_endpoint_id")).order_by(
        *(e.asc() for e in ends)
    )
    last = oldest.limit(1).subquery("last")
    shown = aliased(DeliveryRow, one)
    joined = reach.outerjoin(last, true()).outerjoin(found.join(one, true()), true())
    columns = (shown, reach.c.examined, reach.c.more, last.c.last_event_id, last.c.last_endpoint_id)
    return select(*columns).select_from(joined).order_by(one.c.event_id.desc(), one.c.endpoint_id.desc())


def _fixed(statement: Select[*tuple[Any, ...]], name: str) -> CTE:
    """The statement as a materialized CTE, so that PostgreSQL reads no more rows than its limit."""
    return statement.cte(name).prefix_with("MATERIALIZED", dialect="postgresql")
