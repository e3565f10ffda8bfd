"""Who may have API access, and what ends it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.errors import Conflict, Forbidden, Invalid, Violation

API_ACCESS_LEVEL = 2
KEY_OVERLAP_SECONDS_MAX = 7 * 24 * 3600


class MerchantLevelRequired(Conflict):
    code = "merchant_level_required"


class MerchantDisabled(Conflict):
    code = "merchant_disabled"


@dataclass(frozen=True, slots=True)
class AccessState:
    """What decides about a merchant's API access."""

    level: int
    active: bool
    api_access: bool


def check_level_in_body(level: int, api_access: bool) -> None:
    """Raises `Invalid` when a request asks for API access together with a level that cannot have it."""
    if api_access and level != API_ACCESS_LEVEL:
        message = f"API access can be granted only to merchants of level {API_ACCESS_LEVEL}"
        raise Invalid(message, Violation("/api_access", "merchant_level_required", message))


def grant(state: AccessState) -> AccessState:
    """The state with API access. Raises `MerchantLevelRequired` or `MerchantDisabled`."""
    if state.level != API_ACCESS_LEVEL:
        raise MerchantLevelRequired(
            f"API access can be granted only to merchants of level {API_ACCESS_LEVEL}",
            current_level=state.level,
            required_level=API_ACCESS_LEVEL,
        )
    if not state.active:
        raise MerchantDisabled("a disabled merchant cannot be given API access", current_status="disabled")
    return replace(state, api_access=True)


def update_access(state: AccessState, *, level: int | None, api_access: bool | None) -> AccessState:
    """The state after an update of level, toggle or both: leaving level 2 ends access, coming back does not restore it.

    Raises `Invalid` or `MerchantDisabled`.
    """
    level = state.level if level is None else level
    check_level_in_body(level, bool(api_access))
    moved = replace(state, level=level, api_access=state.api_access and level == API_ACCESS_LEVEL)
    if api_access is None:
        return moved
    return grant(moved) if api_access else replace(moved, api_access=False)


def check_held(code: str, held: frozenset[str]) -> None:
    """For what a route's own permission does not cover. Raises `Forbidden` that names the missing permission."""
    if code not in held:
        raise Forbidden(f"the permission {code} is missing", code="permission_missing", required=[code])


def previous_key_until(now: datetime, overlap_seconds: int) -> datetime | None:
    """How long the former key stays good after a rotation; None: it ends at once."""
    return now + timedelta(seconds=overlap_seconds) if overlap_seconds > 0 else None


API_ACCESS_PERMISSION = "settings.merchants.api_access"
