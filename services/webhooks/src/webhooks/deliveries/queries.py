"""Deliveries as administrators see them."""

from collections.abc import AsyncGenerator, Iterator
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.access.principals import Caller
from shared.api import Page, Paging, page
from shared.errors import NotFound
from shared.ids import from_uuid, to_uuid
from webhooks import events
from webhooks.deliveries.matching import Match, Position, Span
from webhooks.deliveries.rules import delivery_id as delivery_id_of
from webhooks.deliveries.schemas import Delivery, DeliveryFilters
from webhooks.deliveries.tables import DeliveryRow
from webhooks.endpoints import visible_to
from webhooks.postgres import first_id_of_day, made_at

STRETCHES = (250, 1_000, 3_750)
"""Deliveries that a page with unindexed filters examines, step by step; after the last step the page ends as it is."""
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
    newest = min(asked.created_before or now, now)
    match = Match.of(caller.tenant_id, caller.livemode, asked)
    filters = {**asked.model_dump(), "livemode": caller.livemode}
    if match.is_indexed:
        keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
        statement = select(DeliveryRow).where(*match.among)
        found = await page(
            session, statement, paging, by=keys, view=view, filters=filters, parts=partial(_parts, newest)
        )
    else:
        found = await _look_through(session, match, paging, filters, newest)
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


def _spans(newest: datetime) -> Iterator[Span]:
    """The day of this instant and all later ones, then `SPAN_DAYS` before it, then all older days.

    Planning for the partitions of all days takes longer than reading a page.
    """
    end = None
    for days in SPAN_DAYS:
        begin = first_id_of_day(newest, days_before=days)
        yield Span(begin, end)
        end = begin
    yield Span(None, end)


async def _parts(newest: datetime, first: str | None) -> AsyncGenerator[ColumnElement[bool], None]:
    for span in _spans(newest if first is None else made_at(to_uuid(first))):
        yield span.holds(col(DeliveryRow.event_id))


async def _look_through(
    session: AsyncSession, match: Match, paging: Paging, filters: object, newest: datetime
) -> Page[Delivery]:
    """A page of what matches. It examines `STRETCHES` rows; the next page continues there."""
    asked = [filters, True]
    position: Position | None = paging.position(asked)
    spans = _spans(newest if position is None else made_at(to_uuid(position[0])))
    span: Span | None = next(spans)
    stretches = iter(STRETCHES)
    stretch, left = next(stretches), sum(STRETCHES)
    found: list[DeliveryRow] = []
    while span is not None and left and len(found) <= paging.limit:
        rows_max = min(stretch, left)
        statement = match.find(span, position, examined_max=rows_max, found_max=paging.limit + 1 - len(found))
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
