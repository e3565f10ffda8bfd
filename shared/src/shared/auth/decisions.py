"""The decision that every request passes, in its one order: 401, then 403 (tenant, API access), then 402, then 403 (permission).

Pure: everything it needs arrives as values, the clock included.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.auth import permissions
from shared.errors import BadRequest, Forbidden, PaymentRequired, Unauthenticated, Unavailable

Via = Literal["session", "merchant_session", "user_key", "platform_key", "pair"]
"""What a caller presented. A merchant's session is a kind of its own: no route is open to it unless the route says so."""

ADMINISTRATION: frozenset[Via] = frozenset({"session", "user_key", "platform_key"})
EVERYONE: frozenset[Via] = frozenset({"session", "merchant_session", "user_key", "platform_key", "pair"})
API_ACCESS_LEVEL = 2
ENTITLING_STATUSES = frozenset({"trialing", "active", "past_due"})


@dataclass(frozen=True, slots=True)
class RouteAccess:
    """What a route declares: who may come in with what, and whether an unpaid tenant may."""

    kind: Literal["public", "authenticated", "requires"]
    permission: str | None = None
    admits: frozenset[Via] = ADMINISTRATION
    exempt_from_402: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is known of a credential or session at this moment: itself, its subject, its tenant, the tenant's subscription."""

    credential_id: str | None = None
    credential_kind: str | None = None
    credential_active: bool = True
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None
    livemode: bool = True
    digests: tuple[tuple[str, int, datetime | None], ...] = ()
    subject_id: str | None = None
    subject_kind: str | None = None
    subject_active: bool = True
    granted: tuple[str, ...] = ()
    level: int | None = None
    api_access: bool = False
    location_ids: tuple[str, ...] = ()
    default_location_id: str | None = None
    sessions_valid_from: datetime | None = None
    tenant_id: str | None = None
    tenant_name: str | None = None
    tenant_status: str | None = None
    tenant_livemode: bool | None = None
    job_review: bool = False
    """The tenant's wish: new jobs of merchants wait in `staging` until dispatch accepts them."""
    subscription_status: str | None = None
    trial_ends_at: datetime | None = None
    access_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, after the decision."""

    kind: Literal["platform", "owner", "staff", "merchant"]
    via: Via
    standing: Standing
    permissions: frozenset[str]
    livemode: bool
    session_id: str | None = None
    route: RouteAccess = RouteAccess("authenticated")
    """What the route that was decided on declares."""

    @property
    def tenant_id(self) -> str:
        """The tenant. Raises `BadRequest` when a platform key named none."""
        if self.standing.tenant_id is None:
            raise BadRequest("name the tenant in X-Tenant-Id or X-Tenant-Name", code="tenant_required")
        return self.standing.tenant_id

    @property
    def tenant_id_or_none(self) -> str | None:
        return self.standing.tenant_id

    @property
    def subject_id(self) -> str | None:
        """The user or merchant; None for the platform."""
        return self.standing.subject_id

    @property
    def credential_id(self) -> str | None:
        """The API Account ID or API key; None in a session."""
        return self.standing.credential_id

    @property
    def actor(self) -> str:
        """Who an audit trail names: the person or merchant, else the key."""
        return self.standing.subject_id or self.standing.credential_id or "unknown"

    @property
    def row_scope(self) -> Literal["own", "tenant"]:
        """Merchants see their own rows alone."""
        return "own" if self.kind == "merchant" else "tenant"

    def may(self, code: str) -> bool:
        return code in self.permissions


def entitled(standing: Standing, now: datetime) -> bool:
    """Whether the tenant may use the API at this instant. No event is waited for: the end is compared with the caller's clock."""
    if standing.subscription_status not in ENTITLING_STATUSES:
        return False
    return standing.access_until is None or now < standing.access_until


def permissions_of(via: Via, standing: Standing) -> frozenset[str]:
    """Everything that this caller may do, sections and children, before any route's own restriction."""
    match via:
        case "pair":
            return permissions.MERCHANT_PAIR
        case "merchant_session":
            return permissions.MERCHANT_SESSION
        case "platform_key":
            return permissions.PLATFORM & permissions.expand(standing.scopes)
        case "session" | "user_key":
            held = permissions.OWNER if standing.subject_kind == "owner" else permissions.expand(standing.granted)
            held &= permissions.TENANT_CODES
            return held & permissions.expand(standing.scopes) if via == "user_key" else held


def check_credential(via: Via, standing: Standing, now: datetime) -> None:
    """Step 1, the part that changes over time: a key that ended, a user that was disabled. Raises `Unauthenticated`."""
    if via in ("user_key", "platform_key") and not standing.credential_active:
        raise Unauthenticated("this API key was revoked", code="credential_revoked")
    if standing.expires_at is not None and now >= standing.expires_at:
        raise Unauthenticated("this API key has expired", code="credential_expired")
    if via in ("session", "merchant_session", "user_key") and not standing.subject_active:
        raise Unauthenticated("this account is disabled", code="subject_disabled")


def check_standing(via: Via, standing: Standing, now: datetime, route: RouteAccess) -> None:
    """Steps 2 and 3. Raises `Forbidden`, `PaymentRequired`, or `Unavailable` while the tenant's state has not arrived here yet."""
    if standing.tenant_id is not None:
        if standing.tenant_status is None:
            raise Unavailable("this tenant is not known here yet", code="access_not_ready")
        if standing.tenant_status != "active":
            raise Forbidden(f"this tenant is {standing.tenant_status}", code=f"tenant_{standing.tenant_status}")
    if via == "pair" and not (standing.credential_active and _has_api_access(standing)):
        raise Forbidden("API access is off for this merchant", code="api_access_off")
    if standing.tenant_id is None or route.exempt_from_402 or _is_platform(route.permission):
        return
    if standing.subscription_status is None:
        raise Unavailable("this tenant's subscription is not known here yet", code="access_not_ready")
    if not entitled(standing, now):
        raise PaymentRequired(
            "the trial has ended or the subscription is unpaid: purchase a subscription to go on",
            code="subscription_required",
            subscription_status=standing.subscription_status,
            trial_ends_at=standing.trial_ends_at,
        )


def check_permission(via: Via, held: frozenset[str], route: RouteAccess) -> None:
    """Step 4. A route is closed to every kind of credential that it does not name. Raises `Forbidden`."""
    required = [route.permission] if route.permission else []
    if via not in route.admits:
        raise Forbidden(
            "this endpoint is not open to this kind of credential", code="credential_not_admitted", required=required
        )
    if route.permission is not None and route.permission not in held:
        raise Forbidden(f"the permission {route.permission} is missing", code="permission_missing", required=required)


def caller(via: Via, standing: Standing, *, livemode: bool, session_id: str | None = None) -> Caller:
    """The caller that stands behind a credential."""
    if via == "platform_key":
        kind: Literal["platform", "owner", "staff", "merchant"] = "platform"
    elif via in ("pair", "merchant_session"):
        kind = "merchant"
    else:
        kind = "owner" if standing.subject_kind == "owner" else "staff"
    return Caller(kind, via, standing, permissions_of(via, standing), livemode, session_id)


def accept(caller: Caller, route: RouteAccess, now: datetime) -> None:
    """Steps 1 to 3 for a caller whose credential is genuine: whether it is good here at all, whatever it may do."""
    check_credential(caller.via, caller.standing, now)
    check_standing(caller.via, caller.standing, now, route)


def decide(caller: Caller, route: RouteAccess, now: datetime) -> None:
    """All four steps for a caller whose credential is genuine."""
    accept(caller, route, now)
    check_permission(caller.via, caller.permissions, route)


def unknown_codes(codes: Iterable[str | None]) -> list[str]:
    """Declared permissions that the catalogue does not know."""
    return sorted({code for code in codes if code is not None and code not in permissions.CODES})


def _has_api_access(standing: Standing) -> bool:
    return standing.subject_active and standing.api_access and standing.level == API_ACCESS_LEVEL


def _is_platform(permission: str | None) -> bool:
    return permission is not None and permission.startswith("platform.")
