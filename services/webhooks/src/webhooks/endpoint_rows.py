"""The rows of endpoints: found within what the caller may see, and changed with everything that a change entails."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.access.principals import Caller
from shared.errors import Invalid, NotFound, Violation
from shared.events.webhooks import EndpointEvent, EndpointState
from shared.messaging import outbox
from webhooks.models import AuditRow, EndpointRow


async def find(
    session: AsyncSession, caller: Caller, endpoint_id: str, *, for_update: bool = False, deleted_too: bool = False
) -> EndpointRow:
    """The row of an endpoint of the caller's tenant and mode. Raises `NotFound`."""
    statement = select(EndpointRow).where(
        col(EndpointRow.id) == endpoint_id,
        col(EndpointRow.tenant_id) == caller.tenant_id,
        col(EndpointRow.livemode) == caller.livemode,
    )
    if not deleted_too:
        statement = statement.where(col(EndpointRow.deleted_at).is_(None))
    if for_update:
        statement = statement.with_for_update()
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no webhook endpoint with this id", code="endpoint_not_found")
    return row


async def lock(session: AsyncSession, caller: Caller, endpoint_id: str, *, deleted_too: bool = False) -> EndpointRow:
    """The row, held until the transaction ends; with `deleted_too` also a tombstone. Raises `NotFound`."""
    return await find(session, caller, endpoint_id, for_update=True, deleted_too=deleted_too)


def touch(row: EndpointRow, now: datetime) -> None:
    """Give the row its next version."""
    row.version += 1
    row.updated_at = now


def audit(session: AsyncSession, caller: Caller, action: str, subject: str, now: datetime) -> None:
    """Put on record who did what."""
    session.add(AuditRow(tenant_id=caller.tenant_id, actor=caller.actor, action=action, subject=subject, at=now))


def publish(session: AsyncSession, event_type: type[EndpointEvent], row: EndpointRow) -> None:
    """Publish the endpoint as it is now."""
    state = EndpointState(
        endpoint_id=row.id,
        tenant_id=row.tenant_id,
        url=row.url,
        event_types=row.event_types,
        location_ids=row.location_ids,
        enabled=row.enabled,
        reason=row.disabled_reason,
    )
    outbox.publish(
        session,
        event_type(
            type=event_type.type_name(), tenant_id=row.tenant_id, subject=row.id, sequence=row.version, data=state
        ),
    )


def require(violations: Iterable[Violation], what: str) -> None:
    """Raises `Invalid` with all that is wrong."""
    found = list(violations)
    if found:
        raise Invalid(f"the {what} is not acceptable: see errors", *found)
