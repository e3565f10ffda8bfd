"""The rules of a subscription: when it entitles, and how a trial starts, moves and ends.

While a trial runs, access ends at the very instant at which the trial ends; no event is needed to know it.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from shared.errors import Conflict, Invalid, NotFound, Violation

Status = Literal["trialing", "active", "past_due", "unpaid", "canceled", "expired"]
STATUSES: tuple[Status, ...] = get_args(Status)

ENTITLING_STATUSES: frozenset[Status] = frozenset({"trialing", "active", "past_due"})
"""Those under which a tenant may use the API until `access_until`; the three others never entitle."""

TimerKind = Literal["trial_end"]
TIMER_KINDS: tuple[TimerKind, ...] = get_args(TimerKind)
"""What this release does at an instant: kinds of a newer release, running beside it, are left to that one."""

TRIAL_DAYS_MAX = 3650
TRIAL_ENDS_AT_MAX = datetime(9000, 1, 1, tzinfo=UTC)
"""Well inside what Python, PostgreSQL and their time zones can hold."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a tenant has at present."""

    status: Status
    plan: str | None = None
    trial_ends_at: datetime | None = None
    access_until: datetime | None = None
    """First instant at which access is over; None while there is no end in sight."""
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False


class TrialEndPassed(Invalid):
    """A trial can only be given an end that is still to come."""

    code = "trial_end_passed"

    def __init__(self, now: datetime):
        found = Violation("/trial_ends_at", self.code, f"must be later than now, which is {now.isoformat()}")
        super().__init__("the end of a trial must lie in the future", found)


class TrialEndTooFar(Invalid):
    """Instants have a limit, too."""

    code = "trial_end_too_far"

    def __init__(self) -> None:
        found = Violation("/trial_ends_at", self.code, f"must be earlier than {TRIAL_ENDS_AT_MAX.isoformat()}")
        super().__init__("the end of a trial is too far away", found)


class NotOnTrial(Conflict):
    """The tenant has, or had, a paid subscription: there is no trial to extend."""

    code = "not_on_trial"

    def __init__(self, status: Status):
        super().__init__(f"this subscription is {status}: there is no trial to extend", current_status=status)


def entitled(terms: Terms, now: datetime) -> bool:
    """Whether the tenant may use the API at this instant."""
    if terms.status not in ENTITLING_STATUSES:
        return False
    return terms.access_until is None or now < terms.access_until


def start_trial(created_at: datetime, days: int) -> Terms:
    """The terms that a new tenant begins with; a length that no trial can have becomes the nearest one that it can."""
    ends_at = created_at + timedelta(days=min(max(days, 0), TRIAL_DAYS_MAX))
    return Terms("trialing", trial_ends_at=ends_at, access_until=ends_at)


def extend_trial(terms: Terms, ends_at: datetime, now: datetime) -> Terms:
    """The terms with another end of trial, later or earlier; a trial that has expired runs again.

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
    """The terms after the end of the trial, or None when no trial of theirs has come to its end by now."""
    if terms.status != "trialing" or terms.trial_ends_at is None or now < terms.trial_ends_at:
        return None
    return replace(terms, status="expired")


@dataclass(frozen=True, slots=True)
class Timer:
    """Do what `kind` says with the tenant's subscription, at `due_at` or as soon as possible after."""

    kind: TimerKind
    tenant_id: str
    due_at: datetime


class SubscriptionNotFound(NotFound):
    """No tenant of this id has reached billing."""

    code = "subscription_not_found"

    def __init__(self) -> None:
        super().__init__("no subscription of this tenant is known here (yet)")
