"""The rules of identity, tested with values."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.merchants import rules as merchants_rules
from identity.merchants.rules import AccessState
from identity.sessions import rules as sessions_rules
from identity.signing_keys import rules as signing_keys_rules
from identity.users import rules as users_rules
from shared.errors import Forbidden, Invalid

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATES = st.builds(
    lambda level, active, wants: AccessState(level, active, wants and level == 2 and active),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.booleans(),
)


@given(STATES, st.none() | st.sampled_from([1, 2]), st.none() | st.booleans())
def test_no_change_gives_access_to_level_1_or_to_a_disabled_merchant(
    state: AccessState, level: int | None, api_access: bool | None
) -> None:
    try:
        after = merchants_rules.update_access(state, level=level, api_access=api_access)
    except (Invalid, merchants_rules.MerchantDisabled):
        return
    assert not after.api_access or (after.level == 2 and after.active)
    assert not (after.api_access and not state.api_access) or api_access is True


def test_leaving_level_2_ends_access_and_coming_back_does_not_restore_it() -> None:
    granted = AccessState(level=2, active=True, api_access=True)

    lowered = merchants_rules.update_access(granted, level=1, api_access=None)
    raised = merchants_rules.update_access(lowered, level=2, api_access=None)

    assert not lowered.api_access
    assert not raised.api_access


def test_a_level_and_a_toggle_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(Invalid) as refusal:
        merchants_rules.update_access(AccessState(level=2, active=True, api_access=True), level=1, api_access=True)

    assert [violation.pointer for violation in refusal.value.violations] == ["/api_access"]


def test_nobody_grants_what_they_do_not_hold() -> None:
    users_rules.check_grantable(frozenset({"orders"}), frozenset({"orders", "reports"}))

    with pytest.raises(Forbidden) as refusal:
        users_rules.check_grantable(frozenset({"orders", "billing"}), frozenset({"orders"}))

    assert refusal.value.extra["missing"] == ["billing"]


def test_a_token_issued_after_a_revocation_is_valid_even_by_a_slow_clock() -> None:
    valid_from = sessions_rules.next_valid_from(NOW, NOW - timedelta(hours=1))

    assert sessions_rules.token_issued_at(NOW - timedelta(milliseconds=50), valid_from) > valid_from
    assert sessions_rules.next_valid_from(NOW - timedelta(seconds=1), valid_from) == valid_from


def test_a_signing_key_outlives_every_token_that_it_may_have_signed() -> None:
    retires_at = signing_keys_rules.retires_at(NOW, grace_seconds=10, session_seconds=300)

    assert retires_at >= NOW + timedelta(seconds=10 + 300)
