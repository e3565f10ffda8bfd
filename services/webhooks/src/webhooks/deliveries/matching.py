"""Which deliveries match filters: the one rule of the list of deliveries and of replays.

Conditions that have an index in the order of event ids are part of every statement. The others are checked on a limited number of rows,
which the caller reads stretch by stretch, newest or oldest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    Uuid,
    and_,
    any_,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.orm import Mapped, aliased
from sqlmodel import col

from shared.ids import first_id_at, from_uuid, to_uuid
from shared.postgres.column_types import TypedId
from webhooks.deliveries.schemas import DeliveryFilters, DeliveryStatus, ResponseClass
from webhooks.deliveries.tables import DeliveryRow
from webhooks.endpoints import of_tenant
from webhooks.events import EventRow

DELIVERIES_PER_EVENT = 10
"""For a job the events are limited, too, to a part of the stretch: an event has a delivery for each endpoint that wanted it."""

Position = Sequence[str]
"""The event id and endpoint id of a delivery: reading continues after it."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of event ids, from `begin` to before `end`: it lets PostgreSQL leave out the partitions of other days."""

    begin: UUID | None
    end: UUID | None

    def holds(self, event_id: Any) -> ColumnElement[bool]:
        """The condition that the event with this id is in the range."""
        begins = true() if self.begin is None else event_id >= literal(self.begin, Uuid())
        return and_(begins, true() if self.end is None else event_id < literal(self.end, Uuid()))


@dataclass(frozen=True, slots=True)
class Match:
    """The deliveries of a tenant in one mode that match filters."""

    among: tuple[ColumnElement[bool], ...]
    """Conditions with an index in the order of event ids."""
    wanted: "_UnindexedFilters"
    of_job: ColumnElement[bool] | None
    """The condition of the events of the jobs that are asked for; None: of all."""
    newest_first: bool = True

    @classmethod
    def of(cls, tenant_id: str, livemode: bool, asked: DeliveryFilters, *, newest_first: bool = True) -> "Match":
        """What matches these filters."""
        wanted = _UnindexedFilters(
            event_type=asked.event_type,
            status=asked.status if asked.status == "delivered" or asked.cause is not None else None,
            response_class=asked.response_class,
            response_status=asked.response_status,
            location_id=None if asked.location_id is None else to_uuid(asked.location_id),
        )
        among = _indexed(tenant_id, livemode, asked)
        return cls(among, wanted, _events_of_job(tenant_id, livemode, asked), newest_first)

    @property
    def is_indexed(self) -> bool:
        """True if every row that is read matches."""
        return self.wanted == _UnindexedFilters() and self.of_job is None

    def find(self, span: Span, position: Position | None, *, examined_max: int, found_max: int) -> Select[Any]:
        """The first matching deliveries after a position, among at most `examined_max` rows of a span.

        Each row has the number of `examined` rows, whether there may be `more`, the last one, and a matching delivery or none.
        """
        looked_at, more = self._look_at(span, position, examined_max)
        keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
        ends = (looked_at.c.event_id, looked_at.c.endpoint_id)
        are_wanted = (looked_at.c.status.is_not(None), *self.wanted.of(looked_at, span))
        found = _fixed(select(*ends).where(*are_wanted).order_by(*self._in_order(*ends)).limit(found_max), "found")
        same = (keys[0] == found.c.event_id, keys[1] == found.c.endpoint_id, span.holds(keys[0]))
        one = select(DeliveryRow).where(*same).limit(1).correlate(found).lateral("one")
        reach = select(_count_of(looked_at).label("examined"), more.label("more")).subquery("reach")
        ordered = select(ends[0].label("last_event_id"), ends[1].label("last_endpoint_id"))
        last = ordered.order_by(*self._in_order(*ends, from_the_end=True)).limit(1).subquery("last")
        joined = reach.outerjoin(last, true()).outerjoin(found.join(one, true()), true())
        columns = (
            aliased(DeliveryRow, one),
            reach.c.examined,
            reach.c.more,
            last.c.last_event_id,
            last.c.last_endpoint_id,
        )
        return select(*columns).select_from(joined).order_by(*self._in_order(one.c.event_id, one.c.endpoint_id))

    def examine(self, span: Span, position: Position | None, examined_max: int) -> Select[Any]:
        """The first rows of a span after a position, each with its `status` (none: an event without deliveries), whether it `matches`,
        and whether there may be `more` rows."""
        looked_at, more = self._look_at(span, position, examined_max)
        ends = (looked_at.c.event_id, looked_at.c.endpoint_id)
        all_hold = and_(looked_at.c.status.is_not(None), *self.wanted.of(looked_at, span))
        matches = func.coalesce(all_hold, false()).label("matches")
        return select(*ends, looked_at.c.status, matches, more.label("more")).order_by(*self._in_order(*ends))

    def _look_at(self, span: Span, position: Position | None, rows_max: int) -> tuple[CTE, ColumnElement[bool]]:
        """The first rows of a span after a position, and whether there may be more."""
        among = [*self.among, *self._beyond(position)]
        if self.of_job is not None:
            return self._look_at_job(self.of_job, among, span, position, rows_max)
        keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
        first_ones = select(*keys, *_examined_columns()).where(*among, span.holds(keys[0]))
        looked_at = _fixed(first_ones.order_by(*self._in_order(*keys)).limit(rows_max), "looked_at")
        return looked_at, _count_of(looked_at) == rows_max

    def _look_at_job(
        self,
        of_job: ColumnElement[bool],
        among: Sequence[ColumnElement[bool]],
        span: Span,
        position: Position | None,
        rows_max: int,
    ) -> tuple[CTE, ColumnElement[bool]]:
        """The first deliveries of the events of a job.

        An event without any is examined, too: its row has no status, and an endpoint beyond all others.
        """
        event_id, events_max = col(EventRow.id), max(2, rows_max // DELIVERIES_PER_EVENT)
        after: ColumnElement[bool] = true()
        if position is not None:
            reached = literal(position[0], TypedId("evt"))
            after = event_id <= reached if self.newest_first else event_id >= reached
        of_span = select(event_id).where(of_job, span.holds(event_id), after).order_by(*self._in_order(event_id))
        of_job_events = _fixed(of_span.limit(events_max), "events_of_job")
        # With a limit PostgreSQL reads them event by event: as a join it might read all deliveries.
        deliveries = (
            select(col(DeliveryRow.endpoint_id), *_examined_columns())
            .where(*among, col(DeliveryRow.event_id) == of_job_events.c.id, span.holds(col(DeliveryRow.event_id)))
            .order_by(*self._in_order(col(DeliveryRow.endpoint_id)))
            .limit(rows_max)
            .correlate(of_job_events)
            .lateral("of_event")
        )
        beyond_all = UUID(int=0 if self.newest_first else (1 << 128) - 1)
        endpoint_id = func.coalesce(deliveries.c.endpoint_id, literal(beyond_all, Uuid()))
        keys = (
            type_coerce(of_job_events.c.id, TypedId("evt")).label("event_id"),
            type_coerce(endpoint_id, TypedId("ep")).label("endpoint_id"),
        )
        examined = (deliveries.c.event_type, deliveries.c.status, deliveries.c.response_status)
        rows = select(*keys, *examined).select_from(of_job_events.outerjoin(deliveries, true()))
        looked_at = _fixed(rows.order_by(*self._in_order(*keys)).limit(rows_max), "looked_at")
        return looked_at, or_(_count_of(of_job_events) == events_max, _count_of(looked_at) == rows_max)

    def _beyond(self, position: Position | None) -> list[ColumnElement[bool]]:
        if position is None:
            return []
        keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
        values = (literal(position[0], TypedId("evt")), literal(position[1], TypedId("ep")))
        # The first condition lets PostgreSQL leave out the partitions of other days.
        if self.newest_first:
            return [keys[0] <= values[0], tuple_(*keys) < tuple_(*values)]
        return [keys[0] >= values[0], tuple_(*keys) > tuple_(*values)]

    def _in_order(self, *keys: Any, from_the_end: bool = False) -> list[ColumnElement[Any]]:
        return [key.desc() if self.newest_first is not from_the_end else key.asc() for key in keys]


@dataclass(frozen=True, slots=True)
class _UnindexedFilters:
    """Filters for which there is no index in the order of event ids."""

    event_type: str | None = None
    status: DeliveryStatus | None = None
    response_class: ResponseClass | None = None
    response_status: int | None = None
    location_id: UUID | None = None

    def of(self, looked_at: CTE, span: Span) -> list[ColumnElement[bool]]:
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


def _indexed(tenant_id: str, livemode: bool, asked: DeliveryFilters) -> tuple[ColumnElement[bool], ...]:
    among = [of_tenant(tenant_id, livemode, DeliveryRow)]
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
    return tuple(among)


def _events_of_job(tenant_id: str, livemode: bool, asked: DeliveryFilters) -> ColumnElement[bool] | None:
    if asked.job_id is None and asked.job_reference is None:
        return None
    event_id = col(EventRow.id)
    conditions = [col(EventRow.tenant_id) == to_uuid(tenant_id), col(EventRow.livemode) == livemode]
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


def _examined_columns() -> tuple[Mapped[Any], ...]:
    """What `_UnindexedFilters` need of a delivery."""
    return (col(DeliveryRow.event_type), col(DeliveryRow.status), col(DeliveryRow.response_status))


def _count_of(rows: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(rows).scalar_subquery()


def _fixed(statement: Select[*tuple[Any, ...]], name: str) -> CTE:
    """The statement as a materialized CTE, so that PostgreSQL reads no more rows than its limit."""
    return statement.cte(name).prefix_with("MATERIALIZED", dialect="postgresql")
