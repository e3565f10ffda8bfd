"""Deliveries as administrators look at them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.auth.decisions import Caller
from shared.errors import NotFound
from shared.http import Page, Paging, page
from shared.ids import from_uuid, to_uuid
from webhooks.models import (
    Attempt,
    AttemptRow,
    Delivery,
    DeliveryDetail,
    DeliveryDueRow,
    DeliveryRow,
    DeliveryStatus,
    first_id_at,
    made_at,
)


async def listed(
    session: AsyncSession,
    caller: Caller,
    paging: Paging,
    *,
    endpoint_id: str | None,
    event_type: str | None,
    status: DeliveryStatus | None,
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
        statement = statement.where(col(DeliveryRow.id) >= from_uuid("dlv", first_id_at(created_from)))
    if created_before is not None:
        statement = statement.where(col(DeliveryRow.id) < from_uuid("dlv", first_id_at(created_before)))
    filters = {
        "endpoint_id": endpoint_id,
        "event_type": event_type,
        "status": status,
        "created_from": created_from,
        "created_before": created_before,
        "livemode": caller.livemode,
    }
    return await page(
        session, _in_status(statement, status), paging, by=(col(DeliveryRow.id),), view=_view, filters=filters
    )


async def get(session: AsyncSession, caller: Caller, delivery_id: str) -> DeliveryDetail:
    """One delivery with its attempts. Raises `NotFound`."""
    statement = select(DeliveryRow).where(
        col(DeliveryRow.id) == delivery_id,
        col(DeliveryRow.tenant_id) == caller.tenant_id,
        col(DeliveryRow.livemode) == caller.livemode,
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no delivery with this id", code="delivery_not_found")
    made = (
        select(AttemptRow).where(col(AttemptRow.delivery_id) == to_uuid(delivery_id)).order_by(col(AttemptRow.number))
    )
    attempts = [_attempt(attempt) for attempt in (await session.execute(made)).scalars()]
    return DeliveryDetail(**_view(row).model_dump(), attempts=attempts)


def _in_status(statement: Select[Any], status: DeliveryStatus | None) -> Select[Any]:
    match status:
        case None:
            return statement
        case "delivered":
            return statement.where(col(DeliveryRow.delivered_at).is_not(None))
        case "failed":
            return statement.where(col(DeliveryRow.failed_at).is_not(None))
        case "pending":
            # The queue holds these and no others: it is small where the table of deliveries is not.
            return statement.where(col(DeliveryRow.id).in_(select(col(DeliveryDueRow.delivery_id))))


def _view(row: DeliveryRow) -> Delivery:
    created_at = made_at(to_uuid(row.id))
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=row.event_type,
        status=_status(row),
        attempts_made=row.attempts_made,
        response_status=row.response_status,
        cause=row.cause,
        next_attempt_at=row.next_attempt_at,
        delivered_at=row.delivered_at,
        failed_at=row.failed_at,
        failure=row.failure,
        livemode=row.livemode,
        created_at=created_at,
        updated_at=row.updated_at or created_at,
    )


def _status(row: DeliveryRow) -> DeliveryStatus:
    if row.delivered_at is not None:
        return "delivered"
    return "failed" if row.failed_at is not None else "pending"


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        number=row.number,
        started_at=row.started_at,
        latency_ms=row.latency_ms,
        result="delivered" if row.cause is None else "failed",
        response_status=row.response_status,
        cause=row.cause,
        response_body=row.response_body,
    )
