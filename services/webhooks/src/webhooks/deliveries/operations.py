"""Sends deliveries again."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared import audit
from shared.audit import Actor
from shared.errors import Conflict
from shared.ids import to_uuid
from webhooks import queue
from webhooks.deliveries.queries import get_row, view, with_jobs
from webhooks.deliveries.schemas import Delivery
from webhooks.endpoints import EndpointRow
from webhooks.events import EventRow


async def resend(session: AsyncSession, actor: Actor, delivery_id: str) -> Delivery:
    """Make a delivery due at once, whatever its status, with a new retry schedule.

    Raises `NotFound`, or `Conflict` if its endpoint is disabled or deleted, its event is no longer stored, or it is under way.
    """
    row = await get_row(session, actor.caller, delivery_id)
    endpoint = await session.get_one(EndpointRow, row.endpoint_id)
    if endpoint.deleted_at is not None or not endpoint.enabled:
        state = "disabled" if endpoint.deleted_at is None else "deleted"
        raise Conflict(f"the endpoint is {state}", code=f"endpoint_{state}", current_status=row.status)
    of_event = select(col(EventRow.id)).where(col(EventRow.id) == to_uuid(row.event_id)).limit(1)
    if (await session.execute(of_event)).first() is None:
        raise Conflict("its event is not kept any more", code="event_not_kept", current_status=row.status)
    if not await queue.resend(session, to_uuid(row.event_id), to_uuid(row.endpoint_id)):
        raise Conflict(
            "this delivery is under way, or waits for an earlier one of its job",
            code="delivery_under_way",
            current_status=row.status,
        )
    audit.record(session, actor, "delivery.resent", delivery_id)
    await session.refresh(row)
    (resent,) = await with_jobs(session, [view(row)])
    return resent
