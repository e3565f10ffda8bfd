"""Permissions and the access decision, as values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.access import authorization, permissions, principals
from shared.access.principals import Caller, Principal, RouteAccess, Via
from shared.errors import Forbidden, PaymentRequired, Unauthenticated, WaybillError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GOOD = Principal(
    credential_id="acct_1",
    subject_id="mer_1",
    subject_kind="merchant",
    level=2,
    api_access=True,
    tenant_id="ten_1",
    tenant_status="active",
    subscription_status="trialing",
    trial_ends_at=NOW + timedelta(days=1),
    access_until=NOW + timedelta(days=1),
)
codes = st.sets(st.sampled_from(sorted(permissions.CODES)))


def test_the_seven_sections_are_those_of_the_source() -> None:
    assert permissions.SECTIONS == ("home", "orders", "reports", "products", "customers", "appearance", "settings")


def test_a_section_implies_its_children_and_not_the_other_way_round() -> None:
    assert "orders.jobs.write" in permissions.expand({"orders"})
    assert "orders.jobs.write" in permissions.expand({"orders.jobs.write"})
    assert permissions.expand({"orders.jobs.write"}) == {"orders.jobs.write"}
    assert permissions.expand({"no.such.code"}) == frozenset()


@given(codes, codes)
def test_more_codes_never_open_less(some: set[str], more: set[str]) -> None:
    assert permissions.expand(some) <= permissions.expand(some | more)
    assert permissions.expand(permissions.expand(some)) == permissions.expand(some)


@given(codes, codes)
def test_a_user_key_only_narrows(granted: set[str], scopes: set[str]) -> None:
    user = Principal(subject_kind="staff", granted=tuple(granted), scopes=tuple(scopes))

    assert authorization.permissions_of("user_key", user) <= authorization.permissions_of("session", user)


@given(codes)
def test_an_owners_set_is_computed_and_never_of_the_platform(granted: set[str]) -> None:
    owner = Principal(subject_kind="owner", granted=tuple(granted))

    assert authorization.permissions_of("session", owner) == permissions.OWNER
    assert not any(code.startswith("platform") for code in permissions.OWNER)


def test_a_stored_platform_code_gives_a_user_nothing() -> None:
    user = Principal(subject_kind="staff", granted=("platform", "platform.tenants.write"))

    assert authorization.permissions_of("session", user) == frozenset()


@given(codes, st.sampled_from(["pair", "merchant_session"]))
def test_a_merchants_set_is_fixed(granted: set[str], via: Via) -> None:
    merchant = Principal(subject_kind="merchant", granted=tuple(granted), scopes=tuple(granted))
    expected = permissions.MERCHANT_API_CREDENTIALS if via == "pair" else permissions.MERCHANT_SESSION

    assert authorization.permissions_of(via, merchant) == expected


@pytest.mark.parametrize(
    ("status", "until", "expected"),
    [
        ("trialing", timedelta(microseconds=1), True),
        ("trialing", timedelta(0), False),
        ("active", None, True),
        ("past_due", timedelta(hours=1), True),
        ("past_due", timedelta(hours=-1), False),
        ("unpaid", None, False),
        ("canceled", timedelta(hours=1), False),
        ("expired", None, False),
        ("a status of tomorrow", None, False),
        (None, None, False),
    ],
)
def test_entitlement_ends_at_its_instant_and_unknown_is_no(
    status: str | None, until: timedelta | None, expected: bool
) -> None:
    access_until = None if until is None else NOW + until
    principal = replace(GOOD, subscription_status=status, access_until=access_until)

    assert authorization.is_entitled(principal, NOW) is expected


API_CREDENTIALS_ROUTE = RouteAccess("requires", "orders.jobs.write", principals.ADMINISTRATION | {"pair"})
ADMIN_ROUTE = RouteAccess("requires", "settings.webhooks.write")


@pytest.mark.parametrize(
    ("via", "principal", "route", "error"),
    [
        ("pair", GOOD, API_CREDENTIALS_ROUTE, None),
        ("pair", GOOD, ADMIN_ROUTE, Forbidden),
        ("pair", replace(GOOD, api_access=False), API_CREDENTIALS_ROUTE, Forbidden),
        ("pair", replace(GOOD, level=1), API_CREDENTIALS_ROUTE, Forbidden),
        ("pair", replace(GOOD, subject_active=False), API_CREDENTIALS_ROUTE, Forbidden),
        ("pair", replace(GOOD, access_until=NOW), API_CREDENTIALS_ROUTE, PaymentRequired),
        ("pair", replace(GOOD, access_until=NOW), replace(API_CREDENTIALS_ROUTE, exempt_from_402=True), None),
        ("pair", replace(GOOD, tenant_status="suspended", access_until=NOW), API_CREDENTIALS_ROUTE, Forbidden),
        ("merchant_session", GOOD, API_CREDENTIALS_ROUTE, Forbidden),
        ("session", replace(GOOD, subject_kind="staff", granted=("orders",)), API_CREDENTIALS_ROUTE, None),
        ("session", replace(GOOD, subject_kind="staff", granted=("home",)), API_CREDENTIALS_ROUTE, Forbidden),
        ("session", replace(GOOD, subject_kind="owner", subject_active=False), API_CREDENTIALS_ROUTE, Unauthenticated),
        ("user_key", replace(GOOD, subject_kind="owner", scopes=("orders",)), API_CREDENTIALS_ROUTE, None),
        (
            "user_key",
            replace(GOOD, subject_kind="owner", scopes=("orders",), expires_at=NOW),
            API_CREDENTIALS_ROUTE,
            Unauthenticated,
        ),
        ("platform_key", replace(GOOD, scopes=("platform", "orders")), API_CREDENTIALS_ROUTE, None),
        ("platform_key", replace(GOOD, credential_active=False), API_CREDENTIALS_ROUTE, Unauthenticated),
    ],
)
def test_each_caller_is_let_in_or_refused_as_laid_down(
    via: Via, principal: Principal, route: RouteAccess, error: type[WaybillError] | None
) -> None:
    caller = authorization.caller_for(via, principal, livemode=True)

    if error is None:
        authorization.authorize(caller, route, NOW)
    else:
        with pytest.raises(error):
            authorization.authorize(caller, route, NOW)


def test_a_platform_route_asks_no_tenant_to_pay() -> None:
    unpaid = replace(GOOD, scopes=("platform",), access_until=NOW)

    authorization.authorize(
        authorization.caller_for("platform_key", unpaid, livemode=True),
        RouteAccess("requires", "platform.tenants.read"),
        NOW,
    )


SECRET_ROUTE = RouteAccess("requires", "settings.webhooks.write", step_up=True)
ENROLMENT_ROUTE = RouteAccess("authenticated", open_before_enrolment=True)


@pytest.mark.parametrize(
    ("stepped_up_ago", "code"),
    [(None, "step_up_required"), (timedelta(minutes=5), "step_up_required"), (timedelta(minutes=4, seconds=59), None)],
)
def test_a_password_that_was_given_again_counts_for_five_minutes(
    stepped_up_ago: timedelta | None, code: str | None
) -> None:
    owner = replace(GOOD, subject_kind="owner")
    stepped_up_at = None if stepped_up_ago is None else NOW - stepped_up_ago
    caller = authorization.caller_for("session", owner, livemode=True, session_id="ses_1", stepped_up_at=stepped_up_at)

    assert code_of(caller, SECRET_ROUTE) == code


def test_keys_have_no_password_to_give_again_and_permissions_are_asked_for_first() -> None:
    clerk = replace(GOOD, subject_kind="staff", granted=("settings.webhooks.read",))
    key = authorization.caller_for("user_key", replace(GOOD, subject_kind="owner", scopes=("settings",)), livemode=True)
    session = authorization.caller_for("session", clerk, livemode=True, session_id="ses_1")

    assert code_of(key, SECRET_ROUTE) is None
    assert code_of(session, SECRET_ROUTE) == "permission_missing"


def test_a_session_without_the_second_factor_that_is_asked_for_can_only_enrol() -> None:
    caller = authorization.caller_for(
        "session", replace(GOOD, subject_kind="owner"), livemode=True, session_id="ses_1", enrolment_only=True
    )

    assert code_of(caller, ENROLMENT_ROUTE) is None
    assert code_of(caller, replace(ENROLMENT_ROUTE, open_before_enrolment=False)) == "second_factor_enrolment_required"


def code_of(caller: Caller, route: RouteAccess) -> str | None:
    """The code of the refusal; None when the caller is let in."""
    try:
        authorization.authorize(caller, route, NOW)
    except WaybillError as refusal:
        return refusal.problem_code
    return None
