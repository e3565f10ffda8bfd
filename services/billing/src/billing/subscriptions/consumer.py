"""Consumes the events of identity."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from billing import subscriptions
from shared.events import Event, Vocabulary
from shared.events.identity import TenantClosed, TenantCreated

IDENTITY_EVENTS = Vocabulary(TenantCreated, TenantClosed)


def on_identity_events(*, trial_days: int) -> Callable[[AsyncSession, list[Event]], Awaitable[None]]:
    """The handler that starts the trials of new tenants, and ends what closed ones have.

    A trial takes `trial_days` unless the tenant was created with a length of its own.
    """

    async def handle(session: AsyncSession, events: list[Event]) -> None:
        created = [event for event in events if isinstance(event, TenantCreated)]
        await subscriptions.start_trials(session, created, default_days=trial_days)
        closed = [event.data.tenant_id for event in events if isinstance(event, TenantClosed)]
        if closed:
            await subscriptions.close(session, closed, datetime.now(UTC))

    return handle
