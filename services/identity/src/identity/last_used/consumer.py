"""Consumes what the services publish about the use of credentials."""

from sqlalchemy.ext.asyncio import AsyncSession

from identity import last_used
from shared.events import Event, Vocabulary
from shared.events.access import CredentialUsed

ACCESS_EVENTS = Vocabulary(CredentialUsed)


async def on_access_events(session: AsyncSession, events: list[Event]) -> None:
    """Store when credentials were last used, in any service."""
    uses = [use for event in events if isinstance(event, CredentialUsed) for use in event.data.uses]
    await last_used.mark_used(session, [(use.credential_id, use.used_at) for use in uses])
