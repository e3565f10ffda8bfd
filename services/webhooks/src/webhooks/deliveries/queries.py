"""Deliveries as administrators see them."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, Uuid, and_, any_, func, literal, literal_column, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from shared.access.principals import Caller
from shared.api import Page, Paging, page
from shared.errors import NotFound
from shared.ids import from_uuid, to_uuid
from shared.postgres.column_types import TypedId
from webhooks.deliveries.rules import delivery_id as delivery_id_of
from webhooks.deliveries.schemas import Attempt, Delivery, DeliveryDetail, DeliveryStatus
from webhooks.deliveries.tables import AttemptRow, DeliveryRow
from webhooks.endpoints import visible_to
from webhooks.events import EventRow
from webhooks.postgres import first_id_at, first_id_of_day, made_at

ATTEMPTS_SHOWN_MAX = 200
STRETCHES = (250, 1_000, 3_750)
"""Deliveries that a page with unindexed filters examines, step by step; after the last step the page ends as it is."""
SPAN_DAYS = (0, 7)
"""A page reads the partitions of its first day, then those of so many days before it, then all older ones."""


async def list_deliveries(
    session: AsyncSession,
    caller: Caller,
    paging: Paging,
    *,
    endpoint_id: str | None,
    event_type: str | None,
    status: DeliveryStatus | None,
    location_id: str | None,
    created_from: datetime | None,
    created_before: datetime | None,
    now: datetime,
) -> Page[Delivery]:
    """The caller's deliveries, newest first, from `created_from` (inclusive) to `created_before` (exclusive).

    Endpoint, time range and the statuses `pending` and `failed` have indexes in this order. The other filters examine a limited number of
    deliveries for each page: a page may be short or empty and still have a next one.
    """
    among = [visible_to(caller, DeliveryRow)]
    if endpoint_id is not None:
        among.append(col(DeliveryRow.endpoint_id) == endpoint_id)
    if status is not None and status != "delivered":
        # Repeats the condition of the partial index, so that PostgreSQL uses it.
        among += [col(DeliveryRow.status) == status, col(DeliveryRow.status) != literal_column("'delivered'")]
    if created_from is not None:
        among.append(col(DeliveryRow.event_id) >= from_uuid("evt", first_id_at(created_from)))
    if created_before is not None:
        among.append(col(DeliveryRow.event_id) < from_uuid("evt", first_id_at(created_before)))
    filters = {
        "endpoint_id": endpoint_id,
        "event_type": event_type,
        "status": status,
        "location_id": location_id,
        "created_from": created_from,
        "created_before": created_before,
        "livemode": caller.livemode,
    }
    newest = min(created_before or now, now)
    wanted = _UnindexedFilters(event_type, status == "delivered", None if location_id is None else to_uuid(location_id))
    if wanted == _UnindexedFilters():
        keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
        statement = select(DeliveryRow).where(*among)
        return await page(
            session, statement, paging, by=keys, view=view, filters=filters, parts=partial(_parts, newest)
        )
    return await _look_through(session, among, wanted, paging, filters, newest)


async def get(session: AsyncSession, caller: Caller, delivery_id: str) -> DeliveryDetail:
    """One delivery with its attempts. Raises `NotFound`."""
    row = await get_row(session, caller, delivery_id)
    made = (
        select(AttemptRow)
        .where(col(AttemptRow.event_id) == row.event_id, col(AttemptRow.endpoint_id) == row.endpoint_id)
        .order_by(col(AttemptRow.number).desc())
        .limit(ATTEMPTS_SHOWN_MAX - 1)
    )
    earlier = [_attempt(attempt) for attempt in (await session.execute(made)).scalars()]
    return DeliveryDetail(**view(row).model_dump(), attempts=[*earlier[::-1], *_last_attempt(row)])


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
    status: DeliveryStatus = row.status  # type: ignore[assignment]  # a CHECK of the table
    return Delivery(
        id=_id(row),
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=row.event_type,
        status=status,
        attempts_made=row.attempts_made,
        response_status=row.response_status,
        cause=row.cause,
        next_attempt_at=row.next_attempt_at,
        delivered_at=row.finished_at if status == "delivered" else None,
        failed_at=row.finished_at if status == "failed" else None,
        failure=row.failure,
        livemode=row.livemode,
        created_at=created_at,
        updated_at=row.finished_at or row.started_at or created_at,
    )


def _last_attempt(row: DeliveryRow) -> list[Attempt]:
    """The last attempt, which is stored in the delivery's own row; none before the first."""
    if row.started_at is None or row.latency_ms is None:
        return []
    last = AttemptRow(
        event_id=row.event_id,
        endpoint_id=row.endpoint_id,
        number=row.attempts_made,
        started_at=row.started_at,
        latency_ms=row.latency_ms,
        dns_ms=row.dns_ms,
        connect_ms=row.connect_ms,
        tls_ms=row.tls_ms,
        first_byte_ms=row.first_byte_ms,
        response_status=row.response_status,
        cause=row.cause,
        response_body=row.response_body,
    )
    return [_attempt(last)]


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        number=row.number,
        started_at=row.started_at,
        latency_ms=row.latency_ms,
        dns_ms=row.dns_ms,
        connect_ms=row.connect_ms,
        tls_ms=row.tls_ms,
        first_byte_ms=row.first_byte_ms,
        result="delivered" if row.cause is None else "failed",
        response_status=row.response_status,
        cause=row.cause,
        response_body=row.response_body,
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
    delivered: bool = False
    location_id: UUID | None = None

    def of(self, looked_at: CTE, span: _Span) -> list[ColumnElement[bool]]:
        """The filters as conditions on the examined rows."""
        conditions: list[ColumnElement[bool]] = []
        if self.event_type is not None:
            conditions.append(looked_at.c.event_type == self.event_type)
        if self.delivered:
            conditions.append(looked_at.c.status == "delivered")
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
    wanted: _UnindexedFilters,
    paging: Paging,
    filters: object,
    newest: datetime,
) -> Page[Delivery]:
    """A page of the `wanted` deliveries `among` the caller's. It examines `STRETCHES` rows; the next page continues there."""
    asked = [filters, True]
    position = paging.position(asked)
    spans = _spans(newest if position is None else made_at(to_uuid(position[0])))
    span: _Span | None = next(spans)
    stretches = iter(STRETCHES)
    stretch, left = next(stretches), sum(STRETCHES)
    found: list[DeliveryRow] = []
    while span is not None and left and len(found) <= paging.limit:
        rows_max = min(stretch, left)
        statement = _stretch([*among, *_beyond(position)], span, wanted, rows_max, paging.limit + 1 - len(found))
        rows = (await session.execute(statement)).all()
        found += [row[0] for row in rows if row[0] is not None]
        examined = rows[0].examined
        left -= examined
        if examined:
            position = [rows[0].last_event_id, rows[0].last_endpoint_id]
        if examined < rows_max:
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


def _stretch(
    among: Sequence[ColumnElement[bool]], span: _Span, wanted: _UnindexedFilters, rows_max: int, found_max: int
) -> Select[Any]:
    """Examines the first `rows_max` rows of a span.

    Each row of the result has the number of examined rows, the last one, and a wanted one.
    """
    keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
    first_ones = select(*keys, col(DeliveryRow.event_type), col(DeliveryRow.status)).where(*among, span.holds(keys[0]))
    looked_at = _fixed(first_ones.order_by(*(key.desc() for key in keys)).limit(rows_max), "looked_at")
    ends = (looked_at.c.event_id, looked_at.c.endpoint_id)
    newest_first = [end.desc() for end in ends]
    found = _fixed(select(*ends).where(*wanted.of(looked_at, span)).order_by(*newest_first).limit(found_max), "found")
    same = (keys[0] == found.c.event_id, keys[1] == found.c.endpoint_id, span.holds(keys[0]))
    one = select(DeliveryRow).where(*same).limit(1).correlate(found).lateral("one")
    reach = select(func.count().label("examined")).select_from(looked_at).subquery("reach")
    oldest = select(ends[0].label("last_event_id"), ends[1].label("last_endpoint_id")).order_by(
        *(e.asc() for e in ends)
    )
    last = oldest.limit(1).subquery("last")
    shown = aliased(DeliveryRow, one)
    joined = reach.outerjoin(last, true()).outerjoin(found.join(one, true()), true())
    columns = (shown, reach.c.examined, last.c.last_event_id, last.c.last_endpoint_id)
    return select(*columns).select_from(joined).order_by(one.c.event_id.desc(), one.c.endpoint_id.desc())


def _fixed(statement: Select[*tuple[Any, ...]], name: str) -> CTE:
    """The statement as a materialized CTE, so that PostgreSQL reads no more rows than its limit."""
    return statement.cte(name).prefix_with("MATERIALIZED", dialect="postgresql")
