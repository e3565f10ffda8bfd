"""Consumes what billing and webhooks publish for people to know."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import notices
from shared.events import Event, Vocabulary
from shared.events.billing import InvoiceFinalized, PaymentFailed, TrialExpired, TrialWillEnd
from shared.events.webhooks import EndpointDisabled, EndpointWarned

BILLING_EVENTS = Vocabulary(TrialWillEnd, TrialExpired, PaymentFailed, InvoiceFinalized)
WEBHOOKS_EVENTS = Vocabulary(EndpointWarned, EndpointDisabled)


async def on_events(session: AsyncSession, events: list[Event]) -> None:
    """Write the mails about these events."""
    await notices.write(session, events, datetime.now(UTC))
