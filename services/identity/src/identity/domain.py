"""The rules of identity, pure: who may be given API access, what ends it, what protects an owner, which location must stay.

Values in, values out; the clock is an argument.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.errors import Conflict, Forbidden, Invalid, Violation

API_ACCESS_LEVEL = 2
INVITATION_LIFE = timedelta(days=7)
KEY_OVERLAP_SECONDS_MAX = 7 * 24 * 3600
KEY_RETIREMENT_MARGIN = timedelta(seconds=60)
"""How much longer than the last token signed with it an old signing key verifies: clocks differ, and signers notice a rotation late."""


class MerchantLevelRequired(Conflict):
    code = "merchant_level_required"


class MerchantDisabled(Conflict):
    code = "merchant_disabled"


class NameTaken(Conflict):
    """A value that is unique is in use; the problem names the record that has it."""

    code = "already_exists"


class LimitReached(Conflict):
    code = "limit_reached"


class OwnerProtected(Conflict):
    """An owner always has full permissions and stays until ownership is transferred."""

    code = "owner_protected"


class LocationNeeded(Conflict):
    code = "location_needed"


@dataclass(frozen=True, slots=True)
class AccessState:
    """What decides about a merchant's API access."""

    level: int
    active: bool
    api_access: bool


def unique_key(value: str) -> str:
    """The form in which names and e-mail addresses are compared."""
    return value.strip().casefold()


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


def change_access(state: AccessState, *, level: int | None, api_access: bool | None) -> AccessState:
    """The state after an update of level, toggle or both: leaving level 2 ends access, coming back does not restore it.

    Raises `Invalid` or `MerchantDisabled`.
    """
    level = state.level if level is None else level
    check_level_in_body(level, bool(api_access))
    moved = replace(state, level=level, api_access=state.api_access and level == API_ACCESS_LEVEL)
    if api_access is None:
        return moved
    return grant(moved) if api_access else replace(moved, api_access=False)


def check_grantable(added: frozenset[str], held: frozenset[str]) -> None:
    """Nobody grants what they do not hold. Raises `Forbidden` that lists what is missing."""
    missing = sorted(added - held)
    if missing:
        raise Forbidden("you can grant only permissions that you hold", code="permission_not_held", missing=missing)


def check_held(code: str, held: frozenset[str]) -> None:
    """For what a route's own permission does not cover. Raises `Forbidden` that names the missing permission."""
    if code not in held:
        raise Forbidden(f"the permission {code} is missing", code="permission_missing", required=[code])


def check_not_self(actor: str, target: str) -> None:
    """Nobody changes their own rights. Raises `Forbidden`."""
    if actor == target:
        raise Forbidden("nobody changes their own permissions or status", code="own_account")


def check_not_owner(kind: str) -> None:
    """Raises `OwnerProtected`."""
    if kind == "owner":
        raise OwnerProtected("the owner always has full permissions; transfer the ownership first")


def check_deactivatable(*, is_default: bool, merchants_without_other: Iterable[str]) -> None:
    """Whether a location may stop: not the default one, and no active merchant may be left without any. Raises `LocationNeeded`."""
    if is_default:
        raise LocationNeeded("the default location cannot be deactivated", code="location_is_default")
    merchants = list(merchants_without_other)
    if merchants:
        raise LocationNeeded("active merchants have no other active location", merchant_ids=merchants)


def sessions_end(now: datetime, valid_from: datetime) -> datetime:
    """The instant before which tokens are refused from now on; it only grows."""
    return max(now, valid_from)


def token_issue(now: datetime, valid_from: datetime) -> datetime:
    """When a new token says that it was issued: never before the instant from which its subject's tokens are good."""
    return max(now, valid_from + timedelta(microseconds=1))


def previous_key_until(now: datetime, overlap_seconds: int) -> datetime | None:
    """How long the former key stays good after a rotation; None: it ends at once."""
    return now + timedelta(seconds=overlap_seconds) if overlap_seconds > 0 else None


def signing_key_retires_at(now: datetime, *, grace_seconds: float, session_seconds: int) -> datetime:
    """When no token signed with a replaced key can still run."""
    return now + timedelta(seconds=grace_seconds + session_seconds) + KEY_RETIREMENT_MARGIN
