"""The machine of a subscription: what commands, instants and payments make of it. Pure; `now` is the tenant's own time.

Access ends at the instant that the terms name, by the clock of the service that decides; no event is needed. At most one invoice of a
subscription is open: no period is invoiced before the one before it is paid or void.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from billing.periods import days_between, next_boundary
from billing.plans import PlanTerms
from billing.subscriptions.terms import (
    INSTANT_MAX,
    ChangePeriod,
    Charge,
    CurrencyDiffers,
    Decision,
    Failure,
    FailureNoted,
    GrantEndRefused,
    InvoicePeriod,
    MoveRefused,
    NotOnTrial,
    PlanUnchanged,
    Publish,
    Status,
    Terms,
    TrialEndPassed,
    TrialEndTooFar,
    VoidOpenInvoice,
    require,
)
from shared.events import billing as events

TRIAL_DAYS_MAX = 3650
REMINDERS = (timedelta(days=3), timedelta(days=1))
"""How long before its end a trial is reminded of."""
INCOMPLETE = timedelta(hours=23)
"""How long a purchase waits for its first charge."""
INVOICE_TERMS = timedelta(days=14)
"""How long an invoice that is paid by hand may take."""
RETRIES = tuple(timedelta(days=days) for days in (2, 7, 14, 21))
"""When a payment is tried again, from its first failure."""
GRACE = RETRIES[-1] + timedelta(days=1)
"""Access after the first failure: until the last attempt has surely ended."""


def start_trial(created_at: datetime, days: int) -> Terms:
    """The terms of a new tenant. `days` is limited to 0 … `TRIAL_DAYS_MAX`."""
    ends_at = created_at + timedelta(days=min(max(days, 0), TRIAL_DAYS_MAX))
    return _on_trial(Terms("trialing"), ends_at, created_at)


def extend_trial(terms: Terms, ends_at: datetime, now: datetime) -> Decision:
    """Another end of the trial, later or earlier; an expired trial runs again.

    Raises `TrialEndPassed` or `TrialEndTooFar` (422) and `NotOnTrial` (409).
    """
    if ends_at <= now:
        raise TrialEndPassed(now)
    if ends_at >= INSTANT_MAX:
        raise TrialEndTooFar
    if terms.status not in ("trialing", "expired"):
        raise NotOnTrial(terms.status)
    if terms.status == "trialing" and terms.trial_ends_at == ends_at:
        return Decision(terms)
    return Decision(_on_trial(terms, ends_at, now), (Publish(events.TrialExtended),))


def subscribe(terms: Terms, plan: PlanTerms, now: datetime, *, zone: str, by_charge: bool) -> Decision:
    """Buy a plan. Until its first invoice is paid the purchase is incomplete, and keeps what is left of the trial.

    Raises `MoveRefused`.
    """
    require(terms, "subscribe")
    left_until = terms.trial_ends_at if terms.status == "trialing" else None
    anchor = left_until if left_until is not None and plan.keeps_trial else now
    bought = replace(
        terms,
        status="incomplete",
        plan=plan,
        next_plan=None,
        access_until=left_until or now,
        trial_reminder_at=None,
        anchor_at=anchor,
        current_period_start=now,
        current_period_end=next_boundary(anchor, plan.interval, anchor, zone),
        cancel_at_period_end=False,
        complimentary=False,
        by_charge=by_charge,
        payment_pending=True,
        charging=by_charge,
        payment_due_at=now + (INCOMPLETE if by_charge else INVOICE_TERMS),
    )
    return Decision(bought, (InvoicePeriod(bought), Publish(events.SubscriptionUpdated)))


def change(terms: Terms, plan: PlanTerms, now: datetime, *, zone: str) -> Decision:
    """Another plan: a dearer one at once, with a credit by days for what is left of the present one, a cheaper one at the period's end.

    Naming the present plan withdraws a change that was to come. Raises `MoveRefused`, `PlanUnchanged`, `CurrencyDiffers`.
    """
    require(terms, "change")
    present, ends_at, starts_at = terms.plan, terms.current_period_end, terms.current_period_start
    assert present is not None
    assert ends_at is not None
    assert starts_at is not None
    if plan.currency != present.currency:
        raise CurrencyDiffers(present.currency, plan.currency)
    if plan.ref == (terms.next_plan or present).ref:
        raise PlanUnchanged(plan.code)
    later = None if plan.ref == present.ref else plan
    scheduled = Decision(replace(terms, next_plan=later), (Publish(events.SubscriptionUpdated),))
    if later is None or plan.yearly_amount <= present.yearly_amount or now >= ends_at:
        return scheduled
    days = max(1, days_between(starts_at, ends_at, zone))
    days_left = min(days, max(0, days_between(now, ends_at, zone)))
    upgraded = _to_be_paid(replace(terms, plan=plan, next_plan=None), now)
    former_end = ends_at
    if plan.interval != present.interval:
        if plan.amount * days < present.amount * days_left:
            # It would pay money back: what was paid is used up first.
            return scheduled
        ends_at = next_boundary(now, plan.interval, now, zone)
        upgraded = replace(upgraded, anchor_at=now, current_period_start=now, current_period_end=ends_at)
    changed = ChangePeriod(upgraded, present, former_end, days_left, days, now)
    return Decision(upgraded, (changed, Publish(events.SubscriptionUpdated)))


def cancel(terms: Terms, now: datetime, *, at_once: bool) -> Decision:
    """End the subscription with its period, or at once. What is due becomes void, and with it ends dunning. Raises `MoveRefused`."""
    require(terms, "cancel")
    if terms.status == "incomplete":
        return _lapse(terms, now)
    if terms.status == "active" and not at_once and not terms.complimentary:
        if terms.cancel_at_period_end:
            return Decision(terms)
        ending = replace(terms, cancel_at_period_end=True, next_plan=None, access_until=terms.current_period_end)
        return Decision(ending, (Publish(events.SubscriptionUpdated),))
    return _end(terms, now)


def close(terms: Terms, now: datetime) -> Decision:
    """The tenant was closed: whatever it has ends now, and nothing more is charged."""
    if terms.status in ("expired", "canceled"):
        return Decision(terms)
    return _end(terms, now)


def resume(terms: Terms) -> Decision:
    """Withdraw a cancellation at the period's end. Raises `MoveRefused`."""
    require(terms, "resume")
    going_on = replace(terms, cancel_at_period_end=False, access_until=None)
    return Decision(going_on, (Publish(events.SubscriptionResumed),))


def grant(terms: Terms, plan: PlanTerms, until: datetime, now: datetime) -> Decision:
    """Access to a plan until an instant, free of charge. Raises `GrantEndRefused` (422), `MoveRefused` (409)."""
    if not now < until < INSTANT_MAX:
        raise GrantEndRefused(now)
    if terms.status not in ("trialing", "expired", "canceled") and not terms.complimentary:
        raise MoveRefused(terms, "grant")
    granted = replace(
        terms,
        status="active",
        plan=plan,
        next_plan=None,
        access_until=until,
        trial_reminder_at=None,
        anchor_at=now,
        current_period_start=now,
        current_period_end=until,
        cancel_at_period_end=True,
        complimentary=True,
    )
    return Decision(granted, (Publish(events.SubscriptionActivated),))


def pay(terms: Terms) -> Decision:
    """Charge what is due now. Raises `MoveRefused` when nothing is due, or a charge is under way."""
    if not terms.payment_pending or terms.charging:
        raise MoveRefused(terms, "pay")
    return Decision(replace(terms, by_charge=True, charging=True, retry_at=None), (Charge(),))


def method_given(terms: Terms) -> Decision:
    """A payment method was given: it is charged from now on, and at once for what is due."""
    if terms.status not in ("incomplete", "active", "past_due", "unpaid") or terms.complimentary:
        # How it is paid is decided with the next purchase.
        return Decision(terms)
    given = replace(terms, by_charge=True, method_needed=False)
    return pay(given) if terms.payment_pending and not terms.charging else Decision(given)


def paid(terms: Terms, now: datetime, *, zone: str) -> Decision:
    """What was due has been paid. Nothing changes when nothing was due: it came too late."""
    if not terms.payment_pending:
        return Decision(terms)
    settled = replace(
        _with_nothing_due(terms),
        status="active",
        access_until=terms.current_period_end if terms.cancel_at_period_end else None,
    )
    if terms.status == "incomplete":
        converted = (Publish(events.TrialConverted),) if terms.trial_outcome is None else ()
        settled = replace(settled, trial_outcome=terms.trial_outcome or "converted")
        return Decision(settled, (Publish(events.SubscriptionActivated), *converted))
    if terms.status == "active":
        return Decision(settled, (Publish(events.SubscriptionUpdated),))
    assert terms.plan is not None
    assert terms.current_period_end is not None
    if terms.status == "unpaid" and terms.current_period_end <= now:
        # There was no access: the period that is now paid begins now.
        ends_at = next_boundary(now, terms.plan.interval, now, zone)
        settled = replace(settled, anchor_at=now, current_period_start=now, current_period_end=ends_at)
    return Decision(settled, (Publish(events.SubscriptionRecovered),))


def failed(terms: Terms, now: datetime, reason: Failure) -> Decision:
    """A charge was declined, or an invoice is overdue. Nothing changes when nothing is due any more."""
    if not terms.payment_pending:
        return Decision(terms)
    noted = FailureNoted(reason)
    terms = replace(terms, charging=False, method_needed=reason == "method_invalid")
    if terms.status in ("incomplete", "unpaid"):
        return Decision(terms, (noted,))
    if terms.status == "active":
        since = now
        late = replace(terms, status="past_due", past_due_since=since, payment_due_at=None, retry_at=since + RETRIES[0])
        access_until = min(since + GRACE, terms.access_until or INSTANT_MAX)
        return Decision(replace(late, access_until=access_until), (noted, Publish(events.SubscriptionPastDue)))
    assert terms.past_due_since is not None
    retry_at = next((at for after in RETRIES if (at := terms.past_due_since + after) > now), None)
    if retry_at is not None:
        return Decision(replace(terms, retry_at=retry_at), (noted, Publish(events.SubscriptionUpdated)))
    unpaid = replace(terms, status="unpaid", retry_at=None, access_until=now, next_plan=None)
    return Decision(unpaid, (noted, Publish(events.SubscriptionUnpaid)))


def attempts_to_come(terms: Terms) -> list[datetime]:
    """When a payment that failed is tried again, for as long as it fails, from the next time on."""
    since, next_at = terms.past_due_since, terms.retry_at
    if since is None or next_at is None:
        return []
    ends_at = terms.access_until or INSTANT_MAX
    return [next_at, *(at for after in RETRIES if next_at < (at := since + after) < ends_at)]


def next_instant(terms: Terms) -> datetime | None:
    """When time alone changes something; None: not before something else happens."""
    match terms.status:
        case "trialing":
            due = [terms.trial_reminder_at, terms.trial_ends_at]
        case "incomplete":
            due = [terms.payment_due_at]
        case "active" if terms.payment_pending and not terms.cancel_at_period_end:
            due = [terms.payment_due_at]
        case "active":
            due = [terms.payment_due_at, terms.current_period_end]
        case "past_due":
            due = [terms.retry_at, terms.current_period_end if terms.cancel_at_period_end else None]
        case _:
            due = []
    return min((at for at in due if at is not None), default=None)


def decide_due(terms: Terms, now: datetime, *, zone: str) -> Decision:
    """The first thing that is due by `now`; the terms as they are when nothing is."""
    due_at = next_instant(terms)
    if due_at is None or now < due_at:
        return Decision(terms)
    ends_now = terms.cancel_at_period_end and terms.current_period_end is not None and terms.current_period_end <= now
    if terms.status in ("active", "past_due") and ends_now:
        return _end(terms, now)
    by_status: dict[Status, Callable[[], Decision]] = {
        "trialing": lambda: _due_on_trial(terms, now),
        "incomplete": lambda: _lapse(terms, now),
        "active": lambda: failed(terms, now, "overdue") if terms.payment_pending else _renew(terms, zone),
        "past_due": lambda: _try_again(terms, now),
    }
    return by_status[terms.status]()


def _on_trial(terms: Terms, ends_at: datetime, now: datetime) -> Terms:
    return replace(
        terms,
        status="trialing",
        trial_ends_at=ends_at,
        access_until=ends_at,
        trial_reminder_at=_next_reminder(ends_at, now),
        trial_outcome=None,
    )


def _next_reminder(ends_at: datetime, now: datetime) -> datetime | None:
    return next((at for before in REMINDERS if (at := ends_at - before) > now), None)


def _due_on_trial(terms: Terms, now: datetime) -> Decision:
    assert terms.trial_ends_at is not None
    if terms.trial_ends_at <= now:
        expired = replace(terms, status="expired", trial_reminder_at=None, trial_outcome="expired")
        return Decision(expired, (Publish(events.TrialExpired),))
    reminded = replace(terms, trial_reminder_at=_next_reminder(terms.trial_ends_at, now))
    return Decision(reminded, (Publish(events.TrialWillEnd),))


def _lapse(terms: Terms, now: datetime) -> Decision:
    """The end of a purchase that was not paid: back to what was before."""
    before = replace(
        _with_nothing_due(terms),
        plan=None,
        anchor_at=None,
        current_period_start=None,
        current_period_end=None,
    )
    if terms.access_until is not None and terms.access_until > now:
        back = _on_trial(before, terms.access_until, now)
        return Decision(back, (VoidOpenInvoice(), Publish(events.SubscriptionUpdated)))
    if terms.trial_outcome == "converted":
        return Decision(replace(before, status="canceled"), (VoidOpenInvoice(), Publish(events.SubscriptionUpdated)))
    event = events.SubscriptionUpdated if terms.trial_outcome == "expired" else events.TrialExpired
    expired = replace(before, status="expired", trial_outcome="expired")
    return Decision(expired, (VoidOpenInvoice(), Publish(event)))


def _end(terms: Terms, now: datetime) -> Decision:
    ended = replace(
        _with_nothing_due(terms),
        status="canceled",
        next_plan=None,
        trial_reminder_at=None,
        access_until=min(now, terms.access_until or now),
        cancel_at_period_end=False,
        complimentary=False,
        trial_outcome=terms.trial_outcome or "converted",
    )
    void = (VoidOpenInvoice(),) if terms.payment_pending else ()
    return Decision(ended, (*void, Publish(events.SubscriptionCanceled)))


def _renew(terms: Terms, zone: str) -> Decision:
    plan, starts_at = terms.next_plan or terms.plan, terms.current_period_end
    assert plan is not None
    assert terms.plan is not None
    assert terms.anchor_at is not None
    assert starts_at is not None
    anchor = terms.anchor_at if plan.interval == terms.plan.interval else starts_at
    # One `replace` for all: ten thousand may be due at one instant.
    renewed = replace(
        terms,
        payment_pending=True,
        charging=terms.by_charge,
        payment_due_at=_due_by_hand(terms, starts_at),
        plan=plan,
        next_plan=None,
        anchor_at=anchor,
        current_period_start=starts_at,
        current_period_end=next_boundary(anchor, plan.interval, starts_at, zone),
    )
    return Decision(renewed, (InvoicePeriod(renewed), Publish(events.SubscriptionUpdated)))


def _try_again(terms: Terms, now: datetime) -> Decision:
    if terms.by_charge and not terms.method_needed:
        return Decision(replace(terms, retry_at=None, charging=True), (Charge(),))
    return failed(terms, now, "method_invalid" if terms.method_needed else "overdue")


def _to_be_paid(terms: Terms, at: datetime) -> Terms:
    return replace(terms, payment_pending=True, charging=terms.by_charge, payment_due_at=_due_by_hand(terms, at))


def _due_by_hand(terms: Terms, at: datetime) -> datetime | None:
    return None if terms.by_charge else at + INVOICE_TERMS


def _with_nothing_due(terms: Terms) -> Terms:
    return replace(
        terms,
        payment_pending=False,
        charging=False,
        method_needed=False,
        payment_due_at=None,
        past_due_since=None,
        retry_at=None,
    )
