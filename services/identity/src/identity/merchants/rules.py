"""Who may have API access, what ends it, and which locations a merchant may have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from identity.tenants import RevealMode
from shared.errors import Conflict, Forbidden, Invalid, Violation

API_ACCESS_LEVEL = 2
API_ACCESS_PERMISSION = "settings.merchants.api_access"
KEY_OVERLAP_SECONDS_MAX = 7 * 24 * 3600


class MerchantLevelRequired(Conflict):
    """The merchant's level cannot have API access."""

    code = "merchant_level_required"


class MerchantDisabled(Conflict):
    """A disabled merchant cannot have API access."""

    code = "merchant_disabled"


class KeyNotStored(Conflict):
    """No copy of the key is stored: it cannot be shown, only replaced."""

    code = "key_not_stored"


@dataclass(frozen=True, slots=True)
class AccessState:
    """The values of a merchant that decide about its API access."""

    level: int
    active: bool
    api_access: bool


def check_level_in_body(level: int, api_access: bool) -> None:
    """Raises `Invalid` when a request asks for API access and for a level that cannot have it."""
    if api_access and level != API_ACCESS_LEVEL:
        message = f"API access can be granted only to merchants of level {API_ACCESS_LEVEL}"
        raise Invalid(message, Violation("/api_access", "merchant_level_required", message))


def check_permission(code: str, held: frozenset[str]) -> None:
    """For what the permission of a route does not cover. Raises `Forbidden` with the missing permission."""
    if code not in held:
        raise Forbidden(f"the permission {code} is missing", code="permission_missing", required=[code])


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
    """The state after an update of level, API access or both. Leaving level 2 ends access; coming back does not restore it.

    Raises `Invalid` or `MerchantDisabled`.
    """
    level = state.level if level is None else level
    check_level_in_body(level, bool(api_access))
    moved = replace(state, level=level, api_access=state.api_access and level == API_ACCESS_LEVEL)
    if api_access is None:
        return moved
    return grant(moved) if api_access else replace(moved, api_access=False)


def stores_new_key(mode: RevealMode, *, shown: bool) -> bool:
    """Whether a copy of a new key is stored; `shown`: the answer that makes the key shows it."""
    return mode == "step_up" or (mode == "once" and not shown)


def check_revealable(mode: RevealMode, *, stored: bool) -> None:
    """Raises `Forbidden` where the tenant reveals no keys, `KeyNotStored` for a key of which there is no copy (any more)."""
    if mode == "off":
        raise Forbidden("this company reveals no keys: rotate yours to get a new one", code="reveal_off")
    if not stored:
        raise KeyNotStored("no copy of this key is stored: rotate it to get a new one")


def previous_key_until(now: datetime, overlap_seconds: int) -> datetime | None:
    """Until when the former key is valid after a rotation; None: it ends at once."""
    return now + timedelta(seconds=overlap_seconds) if overlap_seconds > 0 else None


def check_locations(
    location_ids: Sequence[str], default_id: str | None, *, active_by_id: Mapping[str, bool], added: set[str]
) -> None:
    """Raises `Invalid` with everything that is wrong. Only `added` locations must be active, but at least one location must be.

    `active_by_id` has the tenant's locations among `location_ids`.
    """
    violations = []
    for index, location_id in enumerate(location_ids):
        pointer = f"/location_ids/{index}"
        if location_id in location_ids[:index]:
            violations.append(Violation(pointer, "duplicate", "this location is listed twice"))
        elif location_id not in active_by_id:
            violations.append(Violation(pointer, "location_unknown", "no location with this id"))
        elif location_id in added and not active_by_id[location_id]:
            violations.append(Violation(pointer, "location_inactive", "this location is not active"))
    if not violations and not any(active_by_id.values()):
        violations.append(Violation("/location_ids", "location_inactive", "one location at least must be active"))
    if default_id is not None and default_id not in location_ids:
        violations.append(Violation("/default_location_id", "not_listed", "the default is not one of location_ids"))
    if violations:
        raise Invalid("the locations are not acceptable: see errors", *violations)
