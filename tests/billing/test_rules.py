"""The rules of a subscription, tested with values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.plans import PlanTerms
from billing.subscriptions import rules
from billing.subscriptions.terms import (
    INSTANT_MAX,
    STATUSES,
    Decision,
    NotOnTrial,
    Publish,
    Status,
    Terms,
    TrialEndPassed,
    TrialEndTooFar,
    is_entitled,
)
from shared.access import authorization, principals
from shared.events import billing as events

SECOND = timedelta(seconds=1)
PLAN = PlanTerms("starter_monthly", 1, "month", "CAD", 4900)

instants = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
statuses = st.sampled_from(STATUSES)
spans = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=3650))
terms = st.builds(Terms, status=statuses, trial_ends_at=st.none() | instants, access_until=st.none() | instants)


@given(terms, instants)
def test_billing_and_the_other_services_agree_on_who_is_entitled(terms: Terms, now: datetime) -> None:
    principal = principals.Principal(subscription_status=terms.status, access_until=terms.access_until)

    assert is_entitled(terms, now) == authorization.is_entitled(principal, now)


@given(instants, st.integers(min_value=1, max_value=rules.TRIAL_DAYS_MAX))
def test_a_trial_entitles_until_its_end_and_not_at_it(created_at: datetime, days: int) -> None:
    trial = rules.start_trial(created_at, days)

    assert trial.trial_ends_at == created_at + timedelta(days=days)
    assert is_entitled(trial, created_at)
    assert is_entitled(trial, trial.trial_ends_at - timedelta(microseconds=1))
    assert not is_entitled(trial, trial.trial_ends_at)


@given(instants, st.integers())
def test_any_length_of_trial_is_limited_and_none_refused(created_at: datetime, days: int) -> None:
    trial = rules.start_trial(created_at, days)

    assert trial.trial_ends_at is not None
    assert created_at <= trial.trial_ends_at <= created_at + timedelta(days=rules.TRIAL_DAYS_MAX)


@given(instants, st.integers(min_value=0, max_value=400), spans)
def test_a_trial_is_reminded_of_and_expires_once_however_late_anybody_looks(
    created_at: datetime, days: int, step: timedelta
) -> None:
    trial, now, seen = rules.start_trial(created_at, days), created_at, list[type]()
    while (due_at := rules.next_instant(trial)) is not None:
        now = max(due_at, min(now + step, created_at + timedelta(days=500)))
        decision = rules.decide_due(trial, now, zone="UTC")
        seen += [effect.event for effect in decision.effects if isinstance(effect, Publish)]
        trial = decision.terms

    expected = [events.TrialWillEnd] * sum(days > before.days for before in rules.REMINDERS) + [events.TrialExpired]
    assert seen[-1] is events.TrialExpired
    assert len(seen) <= len(expected)
    assert step > timedelta(days=1) or seen == expected
    assert trial.status == "expired"
    assert rules.decide_due(trial, now + SECOND, zone="UTC") == Decision(trial)


@given(instants, spans, spans)
def test_an_extension_moves_the_end_in_both_directions_and_revives(
    now: datetime, first: timedelta, second: timedelta
) -> None:
    trial = rules.extend_trial(rules.start_trial(now, 0), now + first, now).terms
    moved = rules.extend_trial(trial, now + second, now).terms
    expired = rules.decide_due(moved, now + second, zone="UTC").terms
    revived = rules.extend_trial(expired, now + second + SECOND, now + second).terms

    assert moved.trial_ends_at == moved.access_until == now + second
    assert is_entitled(moved, now)
    assert expired.status == "expired"
    assert not is_entitled(expired, now + second)
    assert revived.status == "trialing"
    assert is_entitled(revived, now + second)


@given(instants, st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_a_trial_cannot_be_extended_into_the_past(now: datetime, ago: timedelta) -> None:
    with pytest.raises(TrialEndPassed) as refused:
        rules.extend_trial(rules.start_trial(now, 14), now - ago, now)

    assert [violation.pointer for violation in refused.value.violations] == ["/trial_ends_at"]


def test_a_trial_cannot_be_extended_beyond_the_limit() -> None:
    now = datetime.now(UTC)

    with pytest.raises(TrialEndTooFar):
        rules.extend_trial(rules.start_trial(now, 14), INSTANT_MAX, now)


@pytest.mark.parametrize("status", sorted(set(STATUSES) - {"trialing", "expired"}))
def test_a_paid_subscription_has_no_trial_to_extend(status: Status) -> None:
    now = datetime.now(UTC)

    with pytest.raises(NotOnTrial) as refused:
        rules.extend_trial(Terms(status), now + SECOND, now)

    assert refused.value.extra == {"current_status": status}


@pytest.mark.parametrize("keeps_trial", [True, False])
def test_what_is_left_of_a_trial_is_kept_where_the_plan_says_so(keeps_trial: bool) -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    trial, plan = rules.start_trial(now, 10), replace(PLAN, keeps_trial=keeps_trial)

    bought = rules.subscribe(trial, plan, now + timedelta(days=3), zone="UTC", by_charge=True).terms

    begins = trial.trial_ends_at if keeps_trial else now + timedelta(days=3)
    assert begins is not None
    assert bought.current_period_end == begins + timedelta(days=31)
    assert bought.access_until == trial.trial_ends_at, "until it is paid there is what there was"


def test_a_provider_that_is_down_takes_access_from_nobody_who_has_paid() -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    bought = rules.subscribe(rules.start_trial(now, 0), PLAN, now, zone="UTC", by_charge=True).terms
    paid = rules.paid(bought, now, zone="UTC").terms
    assert paid.current_period_end is not None
    renewed = rules.decide_due(paid, paid.current_period_end, zone="UTC").terms
    much_later = paid.current_period_end + timedelta(days=300)

    assert renewed.charging
    assert rules.decide_due(renewed, much_later, zone="UTC") == Decision(renewed)
    assert is_entitled(renewed, much_later)
    assert rules.cancel(renewed, much_later, at_once=True).terms.status == "canceled"


def test_a_payment_that_failed_tells_each_attempt_that_is_to_come() -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    attempts = [now + timedelta(days=days) for days in (2, 7, 14, 21)]
    terms = rules.failed(Terms("active", payment_pending=True), now, "declined").terms

    for number, at in enumerate(attempts):
        assert rules.attempts_to_come(terms) == attempts[number:]
        terms = rules.failed(replace(terms, retry_at=None), at, "declined").terms
    assert (terms.status, rules.attempts_to_come(terms)) == ("unpaid", [])
