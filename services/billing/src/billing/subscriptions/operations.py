"""What can be done with a subscription: trials, purchases, changes, payments.

Every operation locks the subscription first, asks `rules` with the tenant's own time, carries the decision out, and schedules what comes
next, in one transaction.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import invoices, ledger, payments, plans
from billing.invoices import Invoice, InvoiceRow
from billing.ledger import Posting
from billing.providers import ChargeResult, Declined, Succeeded
from billing.subscriptions import effects, rules
from billing.subscriptions.effects import Decided
from billing.subscriptions.queries import (
    LockedSubscription,
    get_unlocked,
    insert_new,
    lock_all_for_update,
    lock_for_update,
    save,
    view,
)
from billing.subscriptions.schemas import Preview, Subscription, preview_of
from billing.subscriptions.tables import SubscriptionRow
from billing.subscriptions.terms import Decision, Publish, SubscriptionNotFound
from shared import audit, tasks
from shared.api import IfMatch
from shared.audit import Actor
from shared.events.billing import SubscriptionUpdated, TrialExpired, TrialStarted
from shared.events.identity import TenantCreated
from shared.ids import new_id

PASSES_MAX = 100
"""How much that has become due one record of a task works through; the rest is due again at once."""


async def start_trials(session: AsyncSession, created: Sequence[TenantCreated], *, default_days: int) -> None:
    """Start the trial of each new tenant, at the instant of its creation. A tenant that has a subscription keeps it."""
    new = {event.data.tenant_id: _new(event, default_days) for event in reversed(created)}
    if not new:
        return
    all_held = await insert_new(session, [held for _, held in sorted(new.items())])
    await effects.schedule(session, all_held)
    for held in all_held:
        effects.publish(session, held, TrialStarted)


async def close(session: AsyncSession, tenant_ids: Collection[str], at: datetime) -> None:
    """End the subscriptions of tenants that were closed. Those that have ended stay as they are."""
    all_held = await lock_all_for_update(session, tenant_ids)
    closed = [Decided(held, rules.close(held.terms, held.now(at)), held.now(at)) for held in all_held]
    before = [view(held, at) for held in all_held]
    await effects.carry_out_all(session, closed)
    await effects.schedule(session, all_held)
    for held, former in zip(all_held, before, strict=True):
        after = view(held, at)
        if after != former:
            audit.record_service(
                session, "subscription.canceled", held.id, tenant_id=held.tenant_id, before=former, after=after
            )


async def extend_trial(
    session: AsyncSession,
    actor: Actor,
    tenant_id: str,
    if_match: IfMatch,
    ends_at: datetime,
    at: datetime,
) -> Subscription:
    """Set the end of the tenant's trial. Nothing changes when it already ends then.

    Raises `SubscriptionNotFound`, `PreconditionFailed`, `TrialEndPassed`, `TrialEndTooFar` or `NotOnTrial`.
    """
    held = await lock_for_update(session, tenant_id, if_match)
    decision = rules.extend_trial(held.terms, ends_at, held.now(at))
    return await _commanded(session, actor, held, decision, "trial.extended", at)


async def grant(
    session: AsyncSession, actor: Actor, tenant_id: str, if_match: IfMatch, plan: str, until: datetime, at: datetime
) -> Subscription:
    """Give access to a plan until an instant, free of charge.

    Raises `SubscriptionNotFound`, `PreconditionFailed`, `PlanNotFound`, `GrantEndRefused` or `MoveRefused`.
    """
    held = await lock_for_update(session, tenant_id, if_match)
    decision = rules.grant(held.terms, await plans.get_on_sale(session, plan), until, held.now(at))
    return await _commanded(session, actor, held, decision, "subscription.granted", at)


async def subscribe(
    session: AsyncSession,
    actor: Actor,
    tenant_id: str,
    if_match: IfMatch,
    plan: str,
    *,
    payment_method: str | None,
    expected_amount_due: int | None,
    at: datetime,
) -> Subscription:
    """Buy a plan. The payment method is charged; without one, the invoice is paid by hand.

    Raises `PlanNotFound`, `PaymentMethodNotFound`, `MoveRefused` or `AmountChanged`.
    """
    held = await lock_for_update(session, tenant_id, if_match)
    by_charge = await _can_charge(session, tenant_id, payment_method, at)
    zone = effects.known_tenant(held).timezone
    wanted = await plans.get_on_sale(session, plan)
    decision = rules.subscribe(held.terms, wanted, held.now(at), zone=zone, by_charge=by_charge)
    await _check_amount(session, held, decision, expected_amount_due)
    return await _commanded(session, actor, held, decision, "subscription.purchased", at)


async def change(
    session: AsyncSession,
    actor: Actor,
    tenant_id: str,
    if_match: IfMatch,
    plan: str,
    *,
    expected_amount_due: int | None,
    at: datetime,
) -> Subscription:
    """Change the plan: to a dearer one at once, to a cheaper one at the period's end.

    Raises `PlanNotFound`, `MoveRefused`, `PlanUnchanged`, `CurrencyDiffers` or `AmountChanged`.
    """
    held = await lock_for_update(session, tenant_id, if_match)
    decision = rules.change(held.terms, await _wanted(session, held, plan), held.now(at), zone=held.zone)
    await _check_amount(session, held, decision, expected_amount_due)
    return await _commanded(session, actor, held, decision, "subscription.changed", at)


async def preview(session: AsyncSession, tenant_id: str, plan: str, at: datetime) -> Preview:
    """What buying this plan, or changing to it, would cost now. Raises what that would raise."""
    held = await get_unlocked(session, tenant_id)
    now = held.now(at)
    if held.terms.status in ("trialing", "expired", "canceled"):
        wanted = await plans.get_on_sale(session, plan)
        zone = effects.known_tenant(held).timezone
        by_charge = await _can_charge(session, tenant_id, None, at)
        decision = rules.subscribe(held.terms, wanted, now, zone=zone, by_charge=by_charge)
    else:
        wanted = await _wanted(session, held, plan)
        decision = rules.change(held.terms, wanted, now, zone=held.zone)
    quote = await effects.quote(session, held, decision)
    return preview_of(wanted, quote, decision.terms, now)


async def cancel(
    session: AsyncSession, actor: Actor, tenant_id: str, if_match: IfMatch, *, at_once: bool, at: datetime
) -> Subscription:
    """End the subscription with its period, or at once. No provider is asked. Raises `MoveRefused`."""
    held = await lock_for_update(session, tenant_id, if_match)
    decision = rules.cancel(held.terms, held.now(at), at_once=at_once)
    return await _commanded(session, actor, held, decision, "subscription.canceled", at)


async def resume(session: AsyncSession, actor: Actor, tenant_id: str, if_match: IfMatch, at: datetime) -> Subscription:
    """Withdraw a cancellation at the period's end. Raises `MoveRefused`."""
    held = await lock_for_update(session, tenant_id, if_match)
    return await _commanded(session, actor, held, rules.resume(held.terms), "subscription.resumed", at)


async def pay_invoice(
    session: AsyncSession, actor: Actor, tenant_id: str, invoice_id: str, if_match: IfMatch, at: datetime
) -> Invoice:
    """Charge an open invoice now. Raises `InvoiceNotFound`, `InvoiceNotOpen`, `ChargeUnderWay`, `PaymentMethodNotFound`."""
    held, invoice = await _lock_with_open_invoice(session, tenant_id, invoice_id, if_match)
    if await payments.default_method(session, tenant_id) is None:
        raise payments.PaymentMethodNotFound
    decision = rules.pay(held.terms)
    await _commanded(session, actor, held, decision, "invoice.payment_requested", at)
    return invoices.view(invoice)


async def mark_paid(
    session: AsyncSession, actor: Actor, tenant_id: str, invoice_id: str, if_match: IfMatch, at: datetime
) -> Invoice:
    """An operator has seen the payment of an open invoice.

    Raises `InvoiceNotFound`, `PreconditionFailed`, `InvoiceNotOpen` or `ChargeUnderWay`.
    """
    held, invoice = await _lock_with_open_invoice(session, tenant_id, invoice_id, if_match)
    before = invoices.view(invoice)
    await effects.settle(session, held, invoice, held.now(at))
    await effects.schedule(session, [held])
    after = invoices.view(invoice)
    audit.record(session, actor, "invoice.marked_paid", invoice.id, before=before, after=after, tenant_id=tenant_id)
    return after


async def method_given(session: AsyncSession, tenant_id: str, at: datetime) -> None:
    """The tenant has given or chosen a payment method, which is its default by now: whatever is due is charged."""
    held = await lock_for_update(session, tenant_id)
    await effects.carry_out(session, held, rules.method_given(held.terms), held.now(at))
    await effects.schedule(session, [held])


async def record_charge(
    session: AsyncSession, tenant_id: str, attempt_id: str, result: ChargeResult, at: datetime
) -> None:
    """Record what came of a charge, once, whoever tells it first and however often: the call, a look-up, a notification."""
    held = await lock_for_update(session, tenant_id)
    attempt = await payments.lock(session, attempt_id)
    if attempt is None or attempt.tenant_id != tenant_id or not payments.record(attempt, result, at):
        return
    now = held.now(at)
    invoice = await invoices.lock(session, tenant_id, attempt.invoice_id)
    match result:
        case Succeeded() if invoice.status == "open":
            await effects.settle(session, held, invoice, now)
        case Succeeded():
            # It was void by then, or paid otherwise: the tenant has a credit, which its next invoice uses.
            amounts: dict[ledger.Account, int] = {"cash": attempt.amount, "customer_credit": -attempt.amount}
            overpaid = Posting(tenant_id, attempt.currency, "overpaid", amounts, attempt.id, now)
            await ledger.post(session, overpaid)
        case Declined(_, is_final) if invoice.status == "open":
            await effects.fail(session, held, "method_invalid" if is_final else "declined", now)
    await effects.schedule(session, [held])


async def do_what_is_due(session: AsyncSession, tenant_ids: Collection[str], at: datetime) -> dict[str, datetime]:
    """Do what has become due of these subscriptions by `at`, of each in its order; returns when each is due next."""
    all_held = await lock_all_for_update(session, tenant_ids)
    waiting = all_held
    for _ in range(PASSES_MAX):
        waiting = await do_next(session, [(held, held.now(at)) for held in waiting])
        if not waiting:
            break
    due = {held.tenant_id: effects.next_task_at(held) for held in all_held}
    return {tenant_id: due_at for tenant_id, due_at in due.items() if due_at is not None}


async def do_next(
    session: AsyncSession, all_held: Sequence[tuple[LockedSubscription, datetime]]
) -> list[LockedSubscription]:
    """Do the first thing that is due of each by its own time; returns those of which something was."""
    looked_at = [Decided(held, rules.decide_due(held.terms, now, zone=held.zone), now) for held, now in all_held]
    decided = [one for one in looked_at if one.decision.changes(one.held.terms)]
    expiring = [(one, view(one.held, one.now)) for one in decided if _ends_trial(one.decision)]
    await effects.carry_out_all(session, decided)
    for one, before in expiring:
        held, after = one.held, view(one.held, one.now)
        audit.record_service(session, "trial.expired", held.id, tenant_id=held.tenant_id, before=before, after=after)
    return [one.held for one in decided]


def _ends_trial(decision: Decision) -> bool:
    return any(isinstance(effect, Publish) and effect.event is TrialExpired for effect in decision.effects)


async def without_tasks(session: AsyncSession, after: str | None, count: int) -> tuple[list[str], str | None]:
    """Of the next `count` tenants those of whose subscription something is to come, without a task; and the last one that was seen."""
    seen = select(col(SubscriptionRow.tenant_id)).order_by(col(SubscriptionRow.tenant_id)).limit(count)
    wanted = seen if after is None else seen.where(col(SubscriptionRow.tenant_id) > after)
    tenant_ids = list((await session.execute(wanted)).scalars())
    all_held = await lock_all_for_update(session, tenant_ids)
    awaited = [held.tenant_id for held in all_held if effects.next_task_at(held) is not None]
    scheduled = await tasks.scheduled(session, effects.SUBSCRIPTION_DUE, awaited)
    missing = [tenant_id for tenant_id in awaited if tenant_id not in scheduled]
    return missing, tenant_ids[-1] if len(tenant_ids) == count else None


async def reschedule(session: AsyncSession, tenant_ids: Collection[str]) -> None:
    """Schedule what comes next of these subscriptions."""
    await effects.schedule(session, await lock_all_for_update(session, tenant_ids))


@dataclass(frozen=True, slots=True)
class ClockProgress:
    """What a step of a test clock came to."""

    is_waiting: bool = False
    """Whether a charge is under way, whose result comes first."""
    arrival_event: str | None = None
    """The id of the event that tells of the clock's arrival."""


async def clock_offset(session: AsyncSession, tenant_id: str) -> timedelta:
    """How far the tenant's test clock is ahead. Raises `SubscriptionNotFound`."""
    statement = select(col(SubscriptionRow.clock_offset)).where(col(SubscriptionRow.tenant_id) == tenant_id)
    offset = (await session.execute(statement)).scalar_one_or_none()
    if offset is None:
        raise SubscriptionNotFound
    return offset


async def lock_clock(session: AsyncSession, tenant_id: str, at: datetime) -> tuple[bool, datetime]:
    """Lock the subscription; returns whether it is a live one, and the tenant's own time. Raises `SubscriptionNotFound`."""
    held = await lock_for_update(session, tenant_id)
    return held.livemode, held.now(at)


async def advance_clock(session: AsyncSession, tenant_id: str, to: datetime, at: datetime) -> ClockProgress:
    """Move the tenant's test clock to what is due first, and do that; or to `to`, when nothing is due until then."""
    held = await lock_for_update(session, tenant_id)
    if held.terms.charging:
        return ClockProgress(is_waiting=True)
    due_at = rules.next_instant(held.terms)
    arrives = due_at is None or due_at > to
    now = max(held.now(at), to if due_at is None or arrives else due_at)
    held.clock_offset = now - at
    if not arrives:
        await save(session, [held])
        await do_next(session, [(held, now)])
        await effects.schedule(session, [held])
        return ClockProgress()
    held.version += 1
    await save(session, [held])
    await effects.schedule(session, [held])
    # Access may end with it: services report when it is in force, as they do of a revocation.
    arrival = effects.publish(session, held, SubscriptionUpdated, receipt_id=new_id("rev"))
    return ClockProgress(arrival_event=arrival)


async def _lock_with_open_invoice(
    session: AsyncSession, tenant_id: str, invoice_id: str, if_match: IfMatch
) -> tuple[LockedSubscription, InvoiceRow]:
    held = await lock_for_update(session, tenant_id)
    invoice = await invoices.lock(session, tenant_id, invoice_id, if_match)
    if invoice.status != "open":
        raise invoices.InvoiceNotOpen(invoice.status)
    if await payments.under_way(session, invoice_id):
        raise payments.ChargeUnderWay
    return held, invoice


async def _can_charge(session: AsyncSession, tenant_id: str, payment_method: str | None, at: datetime) -> bool:
    if payment_method is not None:
        method = await payments.get_method(session, tenant_id, payment_method)
        await payments.make_default(session, method, at)
        return True
    return await payments.default_method(session, tenant_id) is not None


async def _wanted(session: AsyncSession, held: LockedSubscription, plan: str) -> plans.PlanTerms:
    """The plan to change to; the present one is the version that the tenant has."""
    present = held.terms.plan
    return present if present is not None and present.code == plan else await plans.get_on_sale(session, plan)


async def _check_amount(
    session: AsyncSession, held: LockedSubscription, decision: Decision, expected: int | None
) -> None:
    if expected is None:
        return
    quote = await effects.quote(session, held, decision)
    due = 0 if quote is None else quote.amount_due
    if due != expected:
        raise invoices.AmountChanged(expected, due)


async def _commanded(
    session: AsyncSession, actor: Actor, held: LockedSubscription, decision: Decision, action: str, at: datetime
) -> Subscription:
    before = view(held, at)
    if not decision.changes(held.terms):
        return before
    await effects.carry_out(session, held, decision, held.now(at))
    await effects.schedule(session, [held])
    after = view(held, at)
    audit.record(session, actor, action, held.id, before=before, after=after, tenant_id=held.tenant_id)
    return after


def _new(event: TenantCreated, default_days: int) -> LockedSubscription:
    tenant = event.data
    created_at = event.time.astimezone(UTC)
    days = default_days if tenant.trial_days is None else tenant.trial_days
    return LockedSubscription(
        id=new_id("sub"),
        tenant_id=tenant.tenant_id,
        livemode=not tenant.test,
        version=1,
        clock_offset=timedelta(),
        created_at=created_at,
        updated_at=created_at,
        terms=rules.start_trial(created_at, days),
        tenant=None,
    )
