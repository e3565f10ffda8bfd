"""Writes the mails about events of other services, once for each event and person."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import mail, users
from identity.notices import rules
from identity.notices.tables import MailedEventRow
from shared.events import Event
from shared.events.billing import InvoiceFinalized, PaymentFailed, TrialExpired, TrialWillEnd
from shared.events.webhooks import EndpointDisabled, EndpointWarned

BY_RECEIVER = frozenset({"gone", "failing"})
"""Reasons for which an endpoint is disabled that are no administrator's wish."""


async def write(session: AsyncSession, events: Sequence[Event], now: datetime) -> None:
    """Write mails about these events to the owner and the staff whom each concerns. An event that comes again writes none."""
    if not mail.is_on(session):
        return
    told = {event.id: notice for event in events if rules.is_recent(event.time, now) and (notice := _notice(event))}
    first = await _note(session, sorted(told), now)
    for event in events:
        if event.id in first and event.tenant_id is not None:
            said, permission = told[event.id]
            for to in await users.list_recipients(session, event.tenant_id, permission, rules.RECIPIENTS_MAX):
                await mail.send(session, to, said)
            first.remove(event.id)


async def delete_mailed_events(session: AsyncSession, now: datetime) -> None:
    """Forget events that are too old to be told of."""
    await session.execute(delete(MailedEventRow).where(col(MailedEventRow.mailed_at) < now - rules.KEPT))


async def _note(session: AsyncSession, event_ids: Sequence[str], now: datetime) -> set[str]:
    """Note that people are told of these events; returns those of which nobody was told before."""
    if not event_ids:
        return set()
    noted = insert(MailedEventRow).values([{"event_id": event_id, "mailed_at": now} for event_id in event_ids])
    statement = noted.on_conflict_do_nothing().returning(col(MailedEventRow.event_id))
    return set((await session.execute(statement)).scalars())


def _notice(event: Event) -> tuple[mail.Mail, str] | None:
    """What is said about an event, and the permission of those whom it concerns; None: nothing."""
    match event:
        case TrialWillEnd() if event.data.trial_ends_at is not None:
            ends_at = event.data.trial_ends_at
            tenant_now = event.time + timedelta(seconds=event.data.clock_offset_seconds)
            return mail.TrialEnding(ends_at=ends_at, days_left=rules.days_left(ends_at, tenant_now)), "billing.manage"
        case TrialExpired():
            return mail.TrialEnded(ended_at=event.data.trial_ends_at or event.time), "billing.manage"
        case PaymentFailed():
            failed = mail.PaymentFailed(
                amount_minor=event.data.amount,
                currency=event.data.currency,
                invoice_number=event.data.invoice_number,
                next_attempt_at=event.data.next_attempt_at,
            )
            return failed, "billing.manage"
        case InvoiceFinalized():
            invoice = mail.InvoiceReady(
                invoice_number=event.data.number,
                amount_minor=event.data.total,
                currency=event.data.currency,
                due_at=event.data.due_at,
            )
            return invoice, "billing.read"
        case EndpointWarned():
            warned = mail.EndpointWarned(endpoint_id=event.data.endpoint_id, url=event.data.url)
            return warned, "settings.webhooks.write"
        case EndpointDisabled() if event.data.reason in BY_RECEIVER:
            disabled = mail.EndpointDisabled(
                endpoint_id=event.data.endpoint_id, url=event.data.url, reason=event.data.reason
            )
            return disabled, "settings.webhooks.write"
    return None
