"""Consumes the events of identity."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from billing import subscriptions
from shared.events import Event, Vocabulary
from shared.events.identity import TenantCreated

IDENTITY_EVENTS = Vocabulary(TenantCreated)


def on_identity_events(*, trial_days: int) -> Callable[[AsyncSession, list[Event]], Awaitable[None]]:
    """The handler that starts the trials of new tenants, `trial_days` long unless the tenant was created with a length of its own."""

    async def handle(session: AsyncSession, events: list[Event]) -> None:
        created = [event for event in events if isinstance(event, TenantCreated)]
        await subscriptions.start_trials(session, created, default_days=trial_days)

    return handle
