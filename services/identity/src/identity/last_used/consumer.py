"""What identity does with other services' facts."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import last_used
from shared.events import Event, Vocabulary
from shared.events.access import CredentialUsed

ACCESS_EVENTS = Vocabulary(CredentialUsed)


async def on_access_events(session: AsyncSession, events: list[Event]) -> None:
    """Keep when credentials were last used, in whatever service."""
    used: dict[str, datetime] = {}
    for event in events:
        if isinstance(event, CredentialUsed):
            for use in event.data.uses:
                used[use.credential_id] = max(use.used_at, used.get(use.credential_id, use.used_at))
    await last_used.mark_used(session, used)
