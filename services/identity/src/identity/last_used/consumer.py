"""Consumes what the services publish about the use of credentials."""

from sqlalchemy.ext.asyncio import AsyncSession

from identity import last_used, request_log
from shared.events import Event, Vocabulary
from shared.events.access import CredentialUsed, RequestsLogged

ACCESS_EVENTS = Vocabulary(CredentialUsed, RequestsLogged)


async def on_access_events(session: AsyncSession, events: list[Event]) -> None:
    """Store when credentials were last used, and their requests, in any service."""
    uses = [use for event in events if isinstance(event, CredentialUsed) for use in event.data.uses]
    await last_used.mark_used(session, [(use.credential_id, use.used_at) for use in uses])
    await last_used.mark_former_keys_used(
        session, [(use.credential_id, use.former_key_used_at) for use in uses if use.former_key_used_at is not None]
    )
    await request_log.store(session, [event for event in events if isinstance(event, RequestsLogged)])
