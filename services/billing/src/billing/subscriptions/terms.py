"""What a subscription is at present, what it allows and refuses, and what a decision about it says. Values alone."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from billing.plans import PlanTerms
from shared.access.entitlement import entitled
from shared.errors import Conflict, Invalid, NotFound, Violation
from shared.events.billing import BillingEvent

Status = Literal["trialing", "incomplete", "active", "past_due", "unpaid", "canceled", "expired"]
STATUSES: tuple[Status, ...] = get_args(Status)
TrialOutcome = Literal["expired", "converted"]
INSTANT_MAX = datetime(9000, 1, 1, tzinfo=UTC)
"""Latest end of a trial or a grant, exclusive: within the range of instants of Python and PostgreSQL in every time zone."""
Failure = Literal["declined", "method_invalid", "overdue"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a subscription grants at present, and what is to come of it."""

    status: Status
    plan: PlanTerms | None = None
    next_plan: PlanTerms | None = None
    """The plan from the next period on; None: the present one."""
    trial_ends_at: datetime | None = None
    trial_reminder_at: datetime | None = None
    trial_outcome: TrialOutcome | None = None
    """None: the trial has neither expired nor become a purchase."""
    access_until: datetime | None = None
    """First instant without access; None: access has no end."""
    anchor_at: datetime | None = None
    """Where periods are counted from."""
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False
    complimentary: bool = False
    """Granted by an operator: nothing is to be paid."""
    by_charge: bool = False
    """Whether a payment method is charged; else invoices are paid by hand."""
    payment_pending: bool = False
    """Whether there is an open invoice."""
    charging: bool = False
    """Whether a charge is under way: nothing else is tried before its result is known."""
    method_needed: bool = False
    """Whether the payment method was refused for good."""
    payment_due_at: datetime | None = None
    past_due_since: datetime | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish this event with the subscription as it then is."""

    event: type[BillingEvent]


@dataclass(frozen=True, slots=True)
class InvoicePeriod:
    """Invoice the current period of these terms."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class ChangePeriod:
    """Invoice a dearer plan for what is left of the period, with a credit for what is left of the former plan."""

    terms: Terms
    former: PlanTerms
    former_end: datetime
    days_left: int
    days: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Charge:
    """Charge the open invoice."""


@dataclass(frozen=True, slots=True)
class VoidOpenInvoice:
    """Nothing more is to be paid of the open invoice."""


@dataclass(frozen=True, slots=True)
class FailureNoted:
    """Publish that a payment has failed."""

    reason: Failure


Effect = Publish | InvoicePeriod | ChangePeriod | Charge | VoidOpenInvoice | FailureNoted


@dataclass(frozen=True, slots=True)
class Decision:
    """The terms from now on, and what else is to be done in the same transaction."""

    terms: Terms
    effects: tuple[Effect, ...] = ()

    def changes(self, before: Terms) -> bool:
        """Whether anything is to be done."""
        return bool(self.effects) or (self.terms is not before and self.terms != before)


def is_entitled(terms: Terms, now: datetime) -> bool:
    """Whether the tenant may use the API at this instant of its own time."""
    return entitled(terms.status, terms.access_until, now)


class SubscriptionNotFound(NotFound):
    """Billing has no subscription of this tenant."""

    code = "subscription_not_found"

    def __init__(self) -> None:
        super().__init__("no subscription of this tenant is known here (yet)")


class TrialEndPassed(Invalid):
    """The new end of a trial is not in the future."""

    code = "trial_end_passed"

    def __init__(self, now: datetime):
        found = Violation("/trial_ends_at", self.code, f"must be later than now, which is {now.isoformat()}")
        super().__init__("the end of a trial must lie in the future", found)


class TrialEndTooFar(Invalid):
    """The new end of a trial is not before `INSTANT_MAX`."""

    code = "trial_end_too_far"

    def __init__(self) -> None:
        found = Violation("/trial_ends_at", self.code, f"must be earlier than {INSTANT_MAX.isoformat()}")
        super().__init__("the end of a trial is too far away", found)


class GrantEndRefused(Invalid):
    """Access is to be granted until an instant that has passed, or is too far away."""

    code = "grant_end_refused"

    def __init__(self, now: datetime):
        expected = f"must be later than now, which is {now.isoformat()}, and earlier than {INSTANT_MAX.isoformat()}"
        super().__init__("access cannot be granted until then", Violation("/until", self.code, expected))


class NotOnTrial(Conflict):
    """The subscription is or was paid: it has no trial to extend."""

    code = "not_on_trial"

    def __init__(self, status: Status):
        super().__init__(f"this subscription is {status}: there is no trial to extend", current_status=status)


class MoveRefused(Conflict):
    """The subscription does not allow this now."""

    code = "subscription_transition_refused"

    def __init__(self, terms: Terms, wanted: str):
        allowed = allowed_moves(terms)
        super().__init__(
            f"a subscription that is {terms.status} cannot {wanted} now",
            current_status=terms.status,
            requested=wanted,
            allowed_transitions=allowed,
        )


class PlanUnchanged(Conflict):
    """The subscription has this plan already."""

    code = "plan_unchanged"

    def __init__(self, plan: str):
        super().__init__(f"the plan is {plan} already")


class CurrencyDiffers(Conflict):
    """A plan in another currency cannot take the place of this one."""

    code = "plan_currency_differs"

    def __init__(self, present: str, wanted: str):
        super().__init__(f"the present plan is paid in {present}, this one in {wanted}: cancel, and subscribe anew")


def allowed_moves(terms: Terms) -> list[str]:
    """The commands that the tenant may give now."""
    running = terms.status == "active" and not terms.complimentary
    allowed = {
        "subscribe": terms.status in ("trialing", "expired", "canceled"),
        "change": running and not terms.payment_pending and not terms.cancel_at_period_end,
        "cancel": terms.status in ("incomplete", "active", "past_due", "unpaid"),
        "resume": running and terms.cancel_at_period_end,
        "pay": terms.payment_pending,
    }
    return [move for move, is_allowed in allowed.items() if is_allowed]


def require(terms: Terms, move: str) -> None:
    """Raises `MoveRefused` when the tenant may not give this command now."""
    if move not in allowed_moves(terms):
        raise MoveRefused(terms, move)
