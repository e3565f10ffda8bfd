"""Consumes the tenants of identity."""

from sqlalchemy.ext.asyncio import AsyncSession

from jobs import reference_data
from shared.events import Event, Vocabulary
from shared.events.identity import (
    TenantActivated,
    TenantClosed,
    TenantCreated,
    TenantEvent,
    TenantSuspended,
    TenantUpdated,
)

TENANT_EVENTS = Vocabulary(TenantCreated, TenantUpdated, TenantSuspended, TenantActivated, TenantClosed)


async def on_tenant_events(session: AsyncSession, events: list[Event]) -> None:
    """Store the settings of tenants that concern jobs."""
    await reference_data.apply_tenant_events(session, [event for event in events if isinstance(event, TenantEvent)])
