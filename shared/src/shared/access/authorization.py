"""The access decision, always in this order: 401, then 403 (tenant, API access), then 402, then 403 (permission, session).

Pure functions: the current time is an argument.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from shared.access import permissions
from shared.access.entitlement import entitled
from shared.access.principals import ANY_ROUTE, Caller, Principal, RouteAccess, Via
from shared.errors import Forbidden, NotFound, PaymentRequired, Unauthenticated, Unavailable, WaybillError
from shared.ids import from_uuid, to_uuid

API_ACCESS_LEVEL = 2
STEP_UP_LIFE = timedelta(minutes=5)
"""How long a password that was given again in a session counts."""


def is_entitled(principal: Principal, now: datetime) -> bool:
    """Whether the principal's tenant may use the API at this instant, by the tenant's own clock."""
    return entitled(principal.subscription_status, principal.access_until, now, clock_offset=principal.clock_offset)


def permissions_of(via: Via, principal: Principal) -> frozenset[str]:
    """The permissions of a caller, sections and children."""
    match via:
        case "pair":
            return permissions.MERCHANT_API_CREDENTIALS
        case "merchant_session":
            return permissions.MERCHANT_SESSION
        case "platform_key":
            return permissions.PLATFORM & permissions.expand(principal.scopes)
        case "session" | "user_key":
            held = permissions.OWNER if principal.subject_kind == "owner" else permissions.expand(principal.granted)
            held &= permissions.TENANT_CODES
            return held & permissions.expand(principal.scopes) if via == "user_key" else held


def check_credential(via: Via, principal: Principal, now: datetime) -> None:
    """Step 1: the key is not revoked or expired, the user is not disabled. Raises `Unauthenticated`."""
    if via in ("user_key", "platform_key") and not principal.credential_active:
        raise Unauthenticated("this API key was revoked", code="credential_revoked")
    if principal.expires_at is not None and now >= principal.expires_at:
        raise Unauthenticated("this API key has expired", code="credential_expired")
    if via in ("session", "merchant_session", "user_key") and not principal.subject_active:
        raise Unauthenticated("this account is disabled", code="subject_disabled")


def check_mode(principal: Principal) -> None:
    """For a test platform key live tenants do not exist. Raises `NotFound`."""
    if principal.credential_kind == "platform_key" and not principal.livemode and principal.tenant_livemode:
        raise tenant_not_found()


def check_tenant(principal: Principal) -> None:
    """Step 2, of the tenant. Raises `NotFound`, `Forbidden`, or `Unavailable` before the tenant's events have arrived."""
    check_mode(principal)
    if principal.tenant_id is not None:
        if principal.tenant_status is None:
            raise Unavailable("this tenant is not known here yet", code="access_not_ready")
        if principal.tenant_status != "active":
            raise Forbidden(f"this tenant is {principal.tenant_status}", code=f"tenant_{principal.tenant_status}")


def check_api_access(via: Via, principal: Principal) -> None:
    """Step 2, of a merchant's API credentials. Raises `Forbidden`."""
    if via == "pair" and not (principal.credential_active and _has_api_access(principal)):
        raise Forbidden("API access is off for this merchant", code="api_access_off")


def check_payment(principal: Principal, now: datetime, route: RouteAccess) -> None:
    """Step 3. Raises `PaymentRequired`, or `Unavailable` before the subscription's events have arrived."""
    if principal.tenant_id is None or route.exempt_from_402 or _is_platform(route.permission):
        return
    if principal.subscription_status is None:
        raise Unavailable("this tenant's subscription is not known here yet", code="access_not_ready")
    if not is_entitled(principal, now):
        raise PaymentRequired(
            "the trial has ended or the subscription is unpaid: purchase a subscription to go on",
            code="subscription_required",
            subscription_status=principal.subscription_status,
            trial_ends_at=principal.trial_ends_at,
        )


def check_permission(caller: Caller, route: RouteAccess) -> None:
    """Step 4. A route admits only the kinds of credentials that it declares. Raises `Forbidden`."""
    required = [code for code in (route.permission, route.or_else) if code]
    if caller.via not in route.admits:
        raise Forbidden(
            "this endpoint is not open to this kind of credential", code="credential_not_admitted", required=required
        )
    if route.owner_only and caller.kind != "owner":
        raise Forbidden("this endpoint is open to the owner alone", code="owner_required")
    if required and not any(caller.may(code) for code in required):
        raise Forbidden(f"the permission {route.permission} is missing", code="permission_missing", required=required)


def check_session(caller: Caller, route: RouteAccess, now: datetime) -> None:
    """Step 4, of sessions: a second factor that the tenant asks for is enrolled, and the password was given again where needed.

    Raises `Forbidden`.
    """
    if caller.session_id is None:
        return
    if caller.enrolment_only and not route.open_before_enrolment:
        raise Forbidden(
            "this tenant asks for a second factor: enrol one, then renew the session",
            code="second_factor_enrolment_required",
        )
    if route.step_up and not is_stepped_up(caller, now):
        raise step_up_required()


def is_stepped_up(caller: Caller, now: datetime) -> bool:
    """Whether the person has given the password again in this session a moment ago."""
    return caller.stepped_up_at is not None and now - caller.stepped_up_at < STEP_UP_LIFE


def step_up_required() -> Forbidden:
    return Forbidden("give your password again first", code="step_up_required")


def caller_for(
    via: Via,
    principal: Principal,
    *,
    livemode: bool,
    session_id: str | None = None,
    key_digests: tuple[str, ...] = (),
    token_issued_at: datetime | None = None,
    route: RouteAccess = ANY_ROUTE,
    stepped_up_at: datetime | None = None,
    enrolment_only: bool = False,
) -> Caller:
    """The caller that a credential or session belongs to."""
    if via == "platform_key":
        kind: Literal["platform", "owner", "staff", "merchant"] = "platform"
    elif via in ("pair", "merchant_session"):
        kind = "merchant"
    else:
        kind = "owner" if principal.subject_kind == "owner" else "staff"
    held = permissions_of(via, principal)
    return Caller(
        kind,
        via,
        principal,
        held,
        livemode,
        session_id=session_id,
        key_digests=key_digests,
        token_issued_at=token_issued_at,
        route=route,
        stepped_up_at=stepped_up_at,
        enrolment_only=enrolment_only,
    )


def check_admission(caller: Caller, route: RouteAccess, now: datetime) -> None:
    """Steps 1 to 3, for a caller whose credential has been verified."""
    for step in _ADMISSION:
        step(caller, route, now)


def authorize(caller: Caller, route: RouteAccess, now: datetime) -> None:
    """All four steps, for a caller whose credential has been verified."""
    for step in (*_ADMISSION, *_ADMITTED):
        step(caller, route, now)


def refusals(caller: Caller, route: RouteAccess, now: datetime) -> list[WaybillError]:
    """What each step of the decision has against this caller, in their order; nothing for one who is let in."""
    found = []
    for step in (*_ADMISSION, *_ADMITTED):
        try:
            step(caller, route, now)
        except WaybillError as refusal:
            found.append(refusal)
    return found


_Step = Callable[[Caller, RouteAccess, datetime], None]
_ADMISSION: tuple[_Step, ...] = (
    lambda caller, _, now: check_credential(caller.via, caller.principal, now),
    lambda caller, _, now: check_tenant(caller.principal),
    lambda caller, _, now: check_api_access(caller.via, caller.principal),
    lambda caller, route, now: check_payment(caller.principal, now, route),
)
_ADMITTED: tuple[_Step, ...] = (lambda caller, route, _: check_permission(caller, route), check_session)


def is_valid(key_digests: Sequence[str], principal: Principal, now: datetime) -> bool:
    """Whether the key with one of these digests is still one of the credential's."""
    return any(
        digest in key_digests and (valid_until is None or now < valid_until)
        for digest, _, valid_until in principal.digests
    )


def is_revoked(token_issued_at: datetime, principal: Principal) -> bool:
    """Whether session tokens that were issued then are refused."""
    return principal.sessions_valid_from is not None and token_issued_at < principal.sessions_valid_from


def tenant_id_of(value: str | None) -> str | None:
    """The id in a header or path, which nobody has checked. Raises `NotFound` for what is no id of a tenant."""
    if value is None:
        return None
    try:
        if value.startswith("ten_") and from_uuid("ten", to_uuid(value)) == value:
            return value
    except ValueError:
        pass
    raise tenant_not_found()


def tenant_not_found() -> NotFound:
    return NotFound("no tenant with this id or name", code="tenant_not_found")


def unknown_codes(codes: Iterable[str | None]) -> list[str]:
    """The codes that are not in the catalogue."""
    return sorted({code for code in codes if code is not None and code not in permissions.CODES})


def _has_api_access(principal: Principal) -> bool:
    return principal.subject_active and principal.api_access and principal.level == API_ACCESS_LEVEL


def _is_platform(permission: str | None) -> bool:
    return permission is not None and permission.startswith("platform.")
