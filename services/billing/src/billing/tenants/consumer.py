"""Consumes the events of identity about tenants."""

from sqlalchemy.ext.asyncio import AsyncSession

from billing import tenants
from shared.events import Event, Vocabulary
from shared.events.identity import TenantCreated, TenantUpdated

TENANT_EVENTS = Vocabulary(TenantCreated, TenantUpdated)


async def on_tenant_events(session: AsyncSession, events: list[Event]) -> None:
    """Store what billing has to know of tenants."""
    await tenants.project(session, [event for event in events if isinstance(event, TenantCreated | TenantUpdated)])
