"""Deliveries as administrators look at them, and send them again."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import any_, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.auth.decisions import Caller
from shared.errors import Conflict, NotFound
from shared.http import Page, Paging, page
from shared.ids import from_uuid, to_uuid
from webhooks import endpoint_rows, queue
from webhooks.models import AttemptRow, DeliveryRow, EndpointRow, EventRow, first_id_at, made_at
from webhooks.models import delivery_id as delivery_id_of
from webhooks.views.deliveries import Attempt, Delivery, DeliveryDetail, DeliveryStatus

ATTEMPTS_SHOWN_MAX = 200


async def listed(
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
) -> Page[Delivery]:
    """The caller's deliveries, newest first, `created_from` (included) to `created_before` (excluded)."""
    statement = select(DeliveryRow).where(
        col(DeliveryRow.tenant_id) == caller.tenant_id, col(DeliveryRow.livemode) == caller.livemode
    )
    if endpoint_id is not None:
        statement = statement.where(col(DeliveryRow.endpoint_id) == endpoint_id)
    if event_type is not None:
        statement = statement.where(col(DeliveryRow.event_type) == event_type)
    if created_from is not None:
        statement = statement.where(col(DeliveryRow.event_id) >= from_uuid("evt", first_id_at(created_from)))
    if created_before is not None:
        statement = statement.where(col(DeliveryRow.event_id) < from_uuid("evt", first_id_at(created_before)))
    filters = {
        "endpoint_id": endpoint_id,
        "event_type": event_type,
        "status": status,
        "location_id": location_id,
        "created_from": created_from,
        "created_before": created_before,
        "livemode": caller.livemode,
    }
    if status is not None:
        statement = statement.where(col(DeliveryRow.status) == status)
    if location_id is not None:
        at_location = select(literal(1)).where(
            col(EventRow.id) == col(DeliveryRow.event_id),
            literal(to_uuid(location_id)) == any_(col(EventRow.location_ids)),
        )
        statement = statement.where(at_location.exists())
    keys = (col(DeliveryRow.event_id), col(DeliveryRow.endpoint_id))
    return await page(session, statement, paging, by=keys, view=_view, filters=filters)


async def get(session: AsyncSession, caller: Caller, delivery_id: str) -> DeliveryDetail:
    """One delivery with its attempts. Raises `NotFound`."""
    row = await _find(session, caller, delivery_id)
    made = (
        select(AttemptRow)
        .where(col(AttemptRow.event_id) == row.event_id, col(AttemptRow.endpoint_id) == row.endpoint_id)
        .order_by(col(AttemptRow.number).desc())
        .limit(ATTEMPTS_SHOWN_MAX - 1)
    )
    earlier = [_attempt(attempt) for attempt in (await session.execute(made)).scalars()]
    return DeliveryDetail(**_view(row).model_dump(), attempts=[*earlier[::-1], *_last_attempt(row)])


async def resend(session: AsyncSession, caller: Caller, delivery_id: str, now: datetime) -> Delivery:
    """The delivery, due at once whatever became of it, with a schedule that begins anew.

    Raises `NotFound`, or `Conflict`: its endpoint is off or deleted, or it is under way at this moment.
    """
    row = await _find(session, caller, delivery_id)
    endpoint = await session.get_one(EndpointRow, row.endpoint_id)
    if endpoint.deleted_at is not None or not endpoint.enabled:
        state = "disabled" if endpoint.deleted_at is None else "deleted"
        raise Conflict(f"the endpoint is {state}", code=f"endpoint_{state}", current_status=row.status)
    if not await queue.resend(session, to_uuid(row.event_id), to_uuid(row.endpoint_id)):
        raise Conflict(
            "this delivery is under way, or waits for an earlier one of its job",
            code="delivery_under_way",
            current_status=row.status,
        )
    endpoint_rows.audit(session, caller, "delivery.resent", delivery_id, now)
    await session.refresh(row)
    return _view(row)


async def _find(session: AsyncSession, caller: Caller, delivery_id: str) -> DeliveryRow:
    """The row behind a public id: it begins with the event's millisecond, and the rest is a digest of the pair."""
    wanted = to_uuid(delivery_id)
    first = wanted.int >> 80
    statement = select(DeliveryRow).where(
        col(DeliveryRow.tenant_id) == caller.tenant_id,
        col(DeliveryRow.livemode) == caller.livemode,
        col(DeliveryRow.event_id) >= from_uuid("evt", UUID(int=first << 80)),
        col(DeliveryRow.event_id) < from_uuid("evt", UUID(int=first + 1 << 80)),
    )
    for row in (await session.execute(statement)).scalars():
        if _id(row) == delivery_id:
            return row
    raise NotFound("no delivery with this id", code="delivery_not_found")


def _id(row: DeliveryRow) -> str:
    return from_uuid("dlv", delivery_id_of(to_uuid(row.event_id), to_uuid(row.endpoint_id)))


def _view(row: DeliveryRow) -> Delivery:
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
    """The last attempt stands in the delivery's own row."""
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
