"""The rules of a subscription: when it entitles, and how a trial starts, is extended and ends.

Access ends at the instant at which the trial ends, by the clock of the service that decides; no event is needed.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from shared.access.entitlement import entitled
from shared.errors import Conflict, Invalid, NotFound, Violation

Status = Literal["trialing", "active", "past_due", "unpaid", "canceled", "expired"]
STATUSES: tuple[Status, ...] = get_args(Status)

TRIAL_DAYS_MAX = 3650
TRIAL_ENDS_AT_MAX = datetime(9000, 1, 1, tzinfo=UTC)
"""Latest end of a trial, exclusive: within the range of instants of Python and PostgreSQL in every time zone."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a subscription grants at present."""

    status: Status
    plan: str | None = None
    trial_ends_at: datetime | None = None
    access_until: datetime | None = None
    """First instant without access; None: access has no end."""
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False


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
    """The new end of a trial is not before `TRIAL_ENDS_AT_MAX`."""

    code = "trial_end_too_far"

    def __init__(self) -> None:
        found = Violation("/trial_ends_at", self.code, f"must be earlier than {TRIAL_ENDS_AT_MAX.isoformat()}")
        super().__init__("the end of a trial is too far away", found)


class NotOnTrial(Conflict):
    """The subscription is or was paid: it has no trial to extend."""

    code = "not_on_trial"

    def __init__(self, status: Status):
        super().__init__(f"this subscription is {status}: there is no trial to extend", current_status=status)


def is_entitled(terms: Terms, now: datetime) -> bool:
    """Whether the tenant may use the API at this instant."""
    return entitled(terms.status, terms.access_until, now)


def start_trial(created_at: datetime, days: int) -> Terms:
    """The terms of a new tenant. `days` is limited to 0 … `TRIAL_DAYS_MAX`."""
    ends_at = created_at + timedelta(days=min(max(days, 0), TRIAL_DAYS_MAX))
    return Terms("trialing", trial_ends_at=ends_at, access_until=ends_at)


def extend_trial(terms: Terms, ends_at: datetime, now: datetime) -> Terms:
    """The terms with another end of the trial, later or earlier; an expired trial runs again.

    Raises `TrialEndPassed` or `TrialEndTooFar` (422) and `NotOnTrial` (409).
    """
    if ends_at <= now:
        raise TrialEndPassed(now)
    if ends_at >= TRIAL_ENDS_AT_MAX:
        raise TrialEndTooFar
    if terms.status not in ("trialing", "expired"):
        raise NotOnTrial(terms.status)
    return replace(terms, status="trialing", trial_ends_at=ends_at, access_until=ends_at)


def expire(terms: Terms, now: datetime) -> Terms | None:
    """The terms after the end of the trial; None while no trial of these terms has ended."""
    if terms.status != "trialing" or terms.trial_ends_at is None or now < terms.trial_ends_at:
        return None
    return replace(terms, status="expired")
