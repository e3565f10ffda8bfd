"""The rules of a subscription, tested with values."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.subscriptions import rules
from billing.subscriptions.rules import Status, Terms
from shared.access import authorization, principals

SECOND = timedelta(seconds=1)

instants = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
statuses = st.sampled_from(get_args(Status))
spans = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=3650))
terms = st.builds(Terms, status=statuses, trial_ends_at=st.none() | instants, access_until=st.none() | instants)


@given(terms, instants)
def test_billing_and_the_other_services_agree_on_who_is_entitled(terms: Terms, now: datetime) -> None:
    principal = principals.Principal(subscription_status=terms.status, access_until=terms.access_until)

    assert rules.is_entitled(terms, now) == authorization.is_entitled(principal, now)


@given(instants, st.integers(min_value=1, max_value=rules.TRIAL_DAYS_MAX))
def test_a_trial_entitles_until_its_end_and_not_at_it(created_at: datetime, days: int) -> None:
    trial = rules.start_trial(created_at, days)

    assert trial.trial_ends_at == created_at + timedelta(days=days)
    assert rules.is_entitled(trial, created_at)
    assert rules.is_entitled(trial, trial.trial_ends_at - timedelta(microseconds=1))
    assert not rules.is_entitled(trial, trial.trial_ends_at)


@given(instants, st.integers())
def test_any_length_of_trial_is_limited_and_none_refused(created_at: datetime, days: int) -> None:
    trial = rules.start_trial(created_at, days)

    assert trial.trial_ends_at is not None
    assert created_at <= trial.trial_ends_at <= created_at + timedelta(days=rules.TRIAL_DAYS_MAX)


@given(terms, instants)
def test_only_a_trial_whose_end_has_come_expires(terms: Terms, now: datetime) -> None:
    expired = rules.expire(terms, now)

    due = terms.status == "trialing" and terms.trial_ends_at is not None and terms.trial_ends_at <= now
    assert (expired is not None) == due
    if expired is not None:
        assert expired.status == "expired"
        assert not rules.is_entitled(expired, now)
        assert rules.expire(expired, now + SECOND) is None


@given(instants, spans, spans)
def test_an_extension_moves_the_end_in_both_directions_and_revives(
    now: datetime, first: timedelta, second: timedelta
) -> None:
    trial = rules.extend_trial(rules.start_trial(now, 0), now + first, now)
    moved = rules.extend_trial(trial, now + second, now)
    expired = rules.expire(moved, now + second)
    assert expired is not None
    revived = rules.extend_trial(expired, now + second + SECOND, now + second)

    assert moved.trial_ends_at == moved.access_until == now + second
    assert rules.is_entitled(moved, now)
    assert revived.status == "trialing"
    assert rules.is_entitled(revived, now + second)


@given(instants, st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_a_trial_cannot_be_extended_into_the_past(now: datetime, ago: timedelta) -> None:
    with pytest.raises(rules.TrialEndPassed) as refused:
        rules.extend_trial(rules.start_trial(now, 14), now - ago, now)

    assert [violation.pointer for violation in refused.value.violations] == ["/trial_ends_at"]


def test_a_trial_cannot_be_extended_beyond_the_limit() -> None:
    now = datetime.now(UTC)

    with pytest.raises(rules.TrialEndTooFar):
        rules.extend_trial(rules.start_trial(now, 14), rules.TRIAL_ENDS_AT_MAX, now)


@pytest.mark.parametrize("status", sorted(set(rules.STATUSES) - {"trialing", "expired"}))
def test_a_paid_subscription_has_no_trial_to_extend(status: Status) -> None:
    now = datetime.now(UTC)

    with pytest.raises(rules.NotOnTrial) as refused:
        rules.extend_trial(Terms(status), now + SECOND, now)

    assert refused.value.extra == {"current_status": status}
