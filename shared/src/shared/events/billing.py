"""Billing publishes on `billing.events.v1` (kept for ever). Key: the tenant's id; a tenant has one subscription."""

from datetime import datetime
from typing import ClassVar, Literal

from shared.events import Event, State

TOPIC = "billing.events.v1"
SOURCE = "waybill/billing"


class SubscriptionState(State):
    """A tenant's right to use the API, with all instants that a service needs to decide: see `shared.access.entitlement`."""

    tenant_id: str
    status: str
    """trialing | incomplete | active | past_due | unpaid | canceled | expired"""
    plan: str | None = None
    trial_ends_at: datetime | None = None
    access_until: datetime | None = None
    """First instant without access; null: no end is known."""
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False
    features: dict[str, bool | int] = {}
    """What the plan includes: a feature that is on or off, or a limit."""
    clock_offset_seconds: float = 0.0
    """How far the tenant's test clock is ahead of the time; 0 for tenants without one."""


class InvoiceState(State):
    """An invoice; amounts are integers in the minor unit of the currency."""

    invoice_id: str
    tenant_id: str
    number: str
    status: str
    """open | paid | void"""
    currency: str
    """ISO 4217, in capitals."""
    total: int
    amount_due: int
    """What is still to be paid; 0 once it is paid or void."""
    plan: str | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    finalized_at: datetime
    due_at: datetime | None = None
    """When an invoice that is paid by hand is to be paid; null: the payment method is charged."""


class FailedPayment(State):
    """A payment that failed, or an invoice that was not paid in time."""

    tenant_id: str
    invoice_id: str
    invoice_number: str
    currency: str
    amount: int
    """In the minor unit of the currency."""
    reason: str
    """declined | method_invalid | overdue"""
    next_attempt_at: datetime | None = None
    """When it is tried again; null: not by itself."""
    access_until: datetime | None = None
    """First instant without access unless it is paid before; null: access has no end yet."""


class BillingEvent(Event):
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE


class EntitlementEvent(BillingEvent):
    """An event after which every service decides 402 again."""

    data: SubscriptionState


class TrialStarted(EntitlementEvent):
    """The trial of a new tenant has begun."""

    type: Literal["trial.started"] = "trial.started"


class TrialExtended(EntitlementEvent):
    """The end of a trial was moved (later or earlier, also after it had passed)."""

    type: Literal["trial.extended"] = "trial.extended"


class TrialExpired(EntitlementEvent):
    """Published exactly once for each trial that ended without a subscription."""

    type: Literal["trial.expired"] = "trial.expired"


class TrialWillEnd(BillingEvent):
    """A reminder, 3 days and 1 day before the trial ends; none for a trial that is shorter."""

    type: Literal["trial.will_end"] = "trial.will_end"
    data: SubscriptionState


class TrialConverted(BillingEvent):
    """The first purchase of a tenant was paid; `subscription.activated` comes with it."""

    type: Literal["trial.converted"] = "trial.converted"
    data: SubscriptionState


class SubscriptionActivated(EntitlementEvent):
    """A purchase was paid, or a plan was granted: the tenant has access."""

    type: Literal["subscription.activated"] = "subscription.activated"


class SubscriptionUpdated(EntitlementEvent):
    """Something else of the subscription changed: its plan, its period, whether it ends with the period, or the tenant's test clock."""

    type: Literal["subscription.updated"] = "subscription.updated"


class SubscriptionPastDue(EntitlementEvent):
    """A payment failed; the tenant keeps access until `access_until`."""

    type: Literal["subscription.past_due"] = "subscription.past_due"


class SubscriptionRecovered(EntitlementEvent):
    """What was due has been paid."""

    type: Literal["subscription.recovered"] = "subscription.recovered"


class SubscriptionUnpaid(EntitlementEvent):
    """The last attempt to collect a payment has failed: access is over until it is paid."""

    type: Literal["subscription.unpaid"] = "subscription.unpaid"


class SubscriptionCanceled(EntitlementEvent):
    """The subscription has ended; whatever was still due is void."""

    type: Literal["subscription.canceled"] = "subscription.canceled"


class SubscriptionResumed(EntitlementEvent):
    """A cancellation at the end of the period was withdrawn."""

    type: Literal["subscription.resumed"] = "subscription.resumed"


class InvoiceFinalized(BillingEvent):
    """An invoice got its number; from now on it never changes."""

    type: Literal["invoice.finalized"] = "invoice.finalized"
    data: InvoiceState


class InvoicePaid(BillingEvent):
    """An invoice was paid in full."""

    type: Literal["invoice.paid"] = "invoice.paid"
    data: InvoiceState


class PaymentFailed(BillingEvent):
    """A payment was refused, or is overdue."""

    type: Literal["payment.failed"] = "payment.failed"
    data: FailedPayment


ACCESS_EVENTS: tuple[type[EntitlementEvent], ...] = (
    TrialStarted,
    TrialExtended,
    TrialExpired,
    SubscriptionActivated,
    SubscriptionUpdated,
    SubscriptionPastDue,
    SubscriptionRecovered,
    SubscriptionUnpaid,
    SubscriptionCanceled,
    SubscriptionResumed,
)
"""What every service applies to decide who may call."""
EVENTS: tuple[type[Event], ...] = (
    *ACCESS_EVENTS,
    TrialWillEnd,
    TrialConverted,
    InvoiceFinalized,
    InvoicePaid,
    PaymentFailed,
)
