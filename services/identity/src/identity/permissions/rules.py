"""Why a caller may do something: in the words of the access decision, which is the only one that decides."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.access import authorization, permissions
from shared.access.principals import EVERYONE, Caller, RouteAccess
from shared.errors import Forbidden, WaybillError

By = Literal["owner", "section", "permission", "merchant"]
API_ACCESS_LEVEL = authorization.API_ACCESS_LEVEL

MENDED_WITH = {
    "subscription_required": "billing.manage",
    "credential_revoked": "settings.api_keys.write",
    "credential_expired": "settings.api_keys.write",
    "api_access_off": "settings.merchants.api_access",
    "merchant_level_required": "settings.merchants.write",
}
"""By what is missing: the permission of those who can put it right. Where the tenant is suspended or closed, it is the platform."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What somebody holds a permission by; `code` is the granted code that includes it."""

    by: By
    code: str | None = None


def decide(caller: Caller, permission: str, now: datetime) -> list[WaybillError]:
    """What an endpoint that requires this permission has against a caller; nothing: it is let in."""
    route = RouteAccess("requires", permission, EVERYONE)
    return [_in_detail(caller, refusal) for refusal in authorization.refusals(caller, route, now)]


def grounds_of(caller: Caller, permission: str) -> Grounds | None:
    """By what a caller holds a permission; None: it does not."""
    if not caller.may(permission):
        return None
    if caller.kind in ("owner", "merchant"):
        return Grounds("owner" if caller.kind == "owner" else "merchant")
    # The widest first: a section includes what may be granted besides.
    code = next(code for code in permissions.with_ancestors(permission) if code in caller.principal.granted)
    return Grounds("section" if "." not in code else "permission", code)


def permissions_to_mend(caller: Caller, permission: str, code: str) -> list[str] | None:
    """What somebody must hold to put right what is missing; None: no permission helps."""
    match code:
        case "permission_missing" if caller.kind == "merchant":
            # A merchant's permissions are fixed.
            return None
        case "permission_missing" if caller.via == "user_key":
            return ["settings.api_keys.write", permission]
        case "permission_missing":
            return ["settings.staff.write", permission]
        case "subject_disabled":
            return ["settings.merchants.write" if caller.kind == "merchant" else "settings.staff.write"]
    needed = MENDED_WITH.get(code)
    return None if needed is None else [needed]


def _in_detail(caller: Caller, refusal: WaybillError) -> WaybillError:
    """The decision says that API access is off; a merchant of another level needs another level first."""
    if refusal.problem_code == "api_access_off" and caller.principal.level != API_ACCESS_LEVEL:
        return Forbidden(f"API access is for merchants of level {API_ACCESS_LEVEL}", code="merchant_level_required")
    return refusal
