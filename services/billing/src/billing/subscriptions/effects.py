"""Carries out decisions about a subscription: its row, its invoices, its charges, its events, in one transaction.

Whoever decides has locked the subscription first, so nobody else touches what hangs on it. `now` is the tenant's own time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoice_documents, invoices, ledger, payments, plans, tenants
from billing.invoices import Draft, InvoiceRow, NewInvoice, Quote
from billing.plans import Place
from billing.subscriptions import rules
from billing.subscriptions.queries import LockedSubscription, save
from billing.subscriptions.terms import (
    ChangePeriod,
    Charge,
    Decision,
    Effect,
    Failure,
    FailureNoted,
    InvoicePeriod,
    Publish,
    Terms,
    VoidOpenInvoice,
)
from billing.tenants import Tenant
from shared import tasks
from shared.events.billing import (
    BillingEvent,
    FailedPayment,
    InvoiceFinalized,
    InvoicePaid,
    InvoiceState,
    PaymentFailed,
    SubscriptionState,
)
from shared.messaging import outbox
from shared.tasks import NewTask

SUBSCRIPTION_DUE = "subscription_due"
"""The kind of the task for what comes next of a subscription; its key is the tenant's id."""
CHARGE = "charge"
"""The kind of the task that charges; its key is the id of the attempt."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision about a locked subscription; `now` is the tenant's own time."""

    held: LockedSubscription
    decision: Decision
    now: datetime


async def carry_out(session: AsyncSession, held: LockedSubscription, decision: Decision, now: datetime) -> None:
    """Make the decision so. Nothing changes when it changes nothing."""
    await carry_out_all(session, [Decided(held, decision, now)])


async def carry_out_all(session: AsyncSession, all_decided: Sequence[Decided]) -> None:
    """Make these decisions so, with as many statements as one of them needs."""
    changing = [one for one in all_decided if one.decision.changes(one.held.terms)]
    for one in changing:
        one.held.terms = one.decision.terms
        one.held.version += 1
        one.held.updated_at = one.now
    await save(session, [one.held for one in changing])
    for step in range(max((len(one.decision.effects) for one in changing), default=0)):
        with_effect = [one for one in changing if step < len(one.decision.effects)]
        await _perform(session, [(one.held, one.decision.effects[step], one.now) for one in with_effect])


async def schedule(session: AsyncSession, all_held: Sequence[LockedSubscription]) -> None:
    """Schedule what comes next of these subscriptions, instead of what was to come."""
    due = {held.tenant_id: next_task_at(held) for held in all_held}
    await tasks.cancel(session, SUBSCRIPTION_DUE, [tenant_id for tenant_id, at in due.items() if at is None])
    await tasks.schedule(
        session, [NewTask(SUBSCRIPTION_DUE, tenant_id, at) for tenant_id, at in due.items() if at is not None]
    )


def next_task_at(held: LockedSubscription) -> datetime | None:
    """When time alone changes something, by the clock of everybody."""
    due_at = rules.next_instant(held.terms)
    return None if due_at is None else due_at - held.clock_offset


async def quote(session: AsyncSession, held: LockedSubscription, decision: Decision) -> Quote | None:
    """What a decision would invoice; None: nothing."""
    for effect in decision.effects:
        if isinstance(effect, InvoicePeriod | ChangePeriod):
            place = _place(known_tenant(held))
            draft, rates = _draft(effect), await plans.tax_rates(session, [place])
            credit = await ledger.credits_of(session, [held.tenant_id])
            return invoices.quote(draft, rates[place], credit.get((held.tenant_id, draft.currency), 0))
    return None


async def settle(session: AsyncSession, held: LockedSubscription, invoice: InvoiceRow, now: datetime) -> None:
    """The open invoice has been paid."""
    await invoices.settle(session, invoice, now)
    decision = rules.paid(held.terms, now, zone=held.zone)
    await carry_out(session, held, decision, now)
    _publish(session, held, InvoicePaid, invoices.state_of(invoice))


async def fail(session: AsyncSession, held: LockedSubscription, reason: Failure, now: datetime) -> None:
    """A charge of the open invoice was declined."""
    await carry_out(session, held, rules.failed(held.terms, now, reason), now)


def known_tenant(held: LockedSubscription) -> Tenant:
    """Its tenant. Raises `Unavailable` until its event has arrived."""
    if held.tenant is None:
        raise tenants.not_known()
    return held.tenant


def state_of(held: LockedSubscription) -> SubscriptionState:
    """A subscription as events show it."""
    terms = held.terms
    return SubscriptionState(
        tenant_id=held.tenant_id,
        status=terms.status,
        plan=terms.plan.code if terms.plan else None,
        trial_ends_at=terms.trial_ends_at,
        access_until=terms.access_until,
        current_period_end=terms.current_period_end,
        cancel_at_period_end=terms.cancel_at_period_end,
        features=_features(terms),
        clock_offset_seconds=held.clock_offset.total_seconds(),
    )


def publish(
    session: AsyncSession, held: LockedSubscription, event_type: type[BillingEvent], *, receipt_id: str | None = None
) -> str:
    """Publish an event with the subscription as it is now; returns its id. With `receipt_id` services report when it is in force."""
    return _publish(session, held, event_type, state_of(held), receipt_id=receipt_id)


async def _perform(session: AsyncSession, performed: Sequence[tuple[LockedSubscription, Effect, datetime]]) -> None:
    invoiced: list[tuple[LockedSubscription, InvoicePeriod | ChangePeriod, datetime]] = []
    charged: list[tuple[LockedSubscription, datetime]] = []
    for held, effect, now in performed:
        match effect:
            case Publish(event_type):
                publish(session, held, event_type)
            case InvoicePeriod() | ChangePeriod():
                invoiced.append((held, effect, now))
            case Charge():
                charged.append((held, now))
            case VoidOpenInvoice():
                await _void(session, held, now)
            case FailureNoted(reason):
                await _note_failure(session, held, reason)
    if invoiced:
        await _invoice(session, invoiced)
    if charged:
        found = await invoices.get_all_open(session, [held.tenant_id for held, _ in charged])
        await _charge(
            session,
            [(held, invoices.state_of(found[held.tenant_id]), now) for held, now in charged if held.tenant_id in found],
        )


async def _invoice(
    session: AsyncSession, invoiced: Sequence[tuple[LockedSubscription, InvoicePeriod | ChangePeriod, datetime]]
) -> None:
    known = {held.tenant_id: known_tenant(held) for held, *_ in invoiced}
    rates = await plans.tax_rates(session, {_place(tenant) for tenant in known.values()})
    credit = await ledger.credits_of(session, list(known))
    quotes: dict[Any, Quote] = {}
    new = []
    for held, effect, now in invoiced:
        tenant, terms = known[held.tenant_id], effect.terms
        assert terms.plan is not None
        available = credit.get((held.tenant_id, terms.plan.currency), 0)
        same: Any = object()
        if isinstance(effect, InvoicePeriod):
            # What many are invoiced at one instant is the same for all who have no credit.
            same = (terms.plan.ref, terms.current_period_start, terms.current_period_end, _place(tenant), available)
        if same not in quotes:
            quotes[same] = invoices.quote(_draft(effect), rates[_place(tenant)], available)
        due_at = None if terms.by_charge else terms.payment_due_at
        new.append(NewInvoice(tenant, quotes[same], held.livemode, due_at, now))
    finalized = await invoices.finalize(session, new)
    await invoice_documents.order(session, finalized)
    charged = []
    for (held, effect, now), invoice in zip(invoiced, finalized, strict=True):
        _publish(session, held, InvoiceFinalized, invoice)
        if not invoice.amount_due:
            row = await invoices.get_open(session, held.tenant_id)
            assert row is not None
            await settle(session, held, row, now)
        elif effect.terms.charging:
            charged.append((held, invoice, now))
    await _charge(session, charged)


def _place(tenant: Tenant) -> Place:
    return Place(tenant.country, tenant.region or "")


def _draft(effect: InvoicePeriod | ChangePeriod) -> Draft:
    plan, start, end = effect.terms.plan, effect.terms.current_period_start, effect.terms.current_period_end
    assert plan is not None
    assert start is not None
    assert end is not None
    if isinstance(effect, InvoicePeriod):
        return invoices.draft_of_period(plan, start, end)
    return invoices.draft_of_change(
        effect.former,
        plan,
        at=effect.at,
        former_end=effect.former_end,
        end=end,
        days_left=effect.days_left,
        days=effect.days,
    )


async def _charge(session: AsyncSession, charged: Sequence[tuple[LockedSubscription, InvoiceState, datetime]]) -> None:
    if not charged:
        return
    methods = await payments.default_methods(session, [held.tenant_id for held, *_ in charged])
    due = []
    for held, invoice, now in charged:
        method = methods.get(held.tenant_id)
        if method is None:
            await fail(session, held, "method_invalid", now)
        else:
            due.append((invoice, method, now))
    attempts = await payments.begin_attempts(session, due)
    await tasks.schedule(session, [NewTask(CHARGE, attempt.id) for attempt in attempts])


async def _void(session: AsyncSession, held: LockedSubscription, now: datetime) -> None:
    invoice = await invoices.get_open(session, held.tenant_id)
    if invoice is not None:
        reason = "canceled" if held.terms.status == "canceled" else "not_paid_in_time"
        await invoices.void(session, invoice, reason, now)


async def _note_failure(session: AsyncSession, held: LockedSubscription, reason: Failure) -> None:
    invoice = await invoices.get_open(session, held.tenant_id)
    if invoice is None:
        return
    state = invoices.state_of(invoice)
    failure = FailedPayment(
        tenant_id=state.tenant_id,
        invoice_id=state.invoice_id,
        invoice_number=state.number,
        currency=state.currency,
        amount=state.amount_due,
        reason=reason,
        next_attempt_at=held.terms.retry_at,
        access_until=held.terms.access_until,
    )
    _publish(session, held, PaymentFailed, failure)


def _features(terms: Terms) -> dict[str, bool | int]:
    plan = terms.plan
    return {} if plan is None or terms.status == "incomplete" else dict(plan.features or {})


def _publish(
    session: AsyncSession,
    held: LockedSubscription,
    event_type: type[BillingEvent],
    state: object,
    *,
    receipt_id: str | None = None,
) -> str:
    event = event_type(
        type=event_type.type_name(),
        tenant_id=held.tenant_id,
        subject=held.tenant_id,
        sequence=held.version,
        revocation_id=receipt_id,
        data=state,
    )
    outbox.publish(session, event)
    return event.id
