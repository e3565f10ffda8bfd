"""Nobody grants what they lack, manages people who hold more, or changes their own rights; the owner keeps all permissions."""

from shared.errors import Conflict, Forbidden


class UserNotActive(Conflict):
    """Only an active user can own a tenant."""

    code = "user_not_active"


class OwnerProtected(Conflict):
    """An owner always has full permissions and stays until ownership is transferred."""

    code = "owner_protected"


def check_grantable(added: frozenset[str], held: frozenset[str]) -> None:
    """Raises `Forbidden`, with the list of missing permissions, when somebody grants more than they hold."""
    missing = sorted(added - held)
    if missing:
        raise Forbidden("you can grant only permissions that you hold", code="permission_not_held", missing=missing)


def check_may_manage(target: frozenset[str], held: frozenset[str]) -> None:
    """Raises `Forbidden` when somebody strips, disables or re-addresses a person who holds more than they do."""
    missing = sorted(target - held)
    if missing:
        message = "this person has permissions that you do not hold"
        raise Forbidden(message, code="permission_not_held", missing=missing)


def check_not_self(actor: str, target: str) -> None:
    """Raises `Forbidden` when somebody changes their own permissions or status."""
    if actor == target:
        raise Forbidden("nobody changes their own permissions or status", code="own_account")


def check_not_owner(kind: str) -> None:
    """Raises `OwnerProtected` for the owner."""
    if kind == "owner":
        raise OwnerProtected("the owner always has full permissions; transfer the ownership first")


def check_can_own(status: str) -> None:
    """Raises `UserNotActive` for a user who cannot log in."""
    if status != "active":
        raise UserNotActive(f"this user is {status}", current_status=status)


def check_may_update(kind: str, *, own: bool, by_platform: bool) -> None:
    """Raises `OwnerProtected` unless the owner or the platform updates the owner: a new e-mail address could take the tenant."""
    if not own and not by_platform:
        check_not_owner(kind)


def status_when_enabled(*, has_password: bool) -> str:
    """The status of a disabled user after it is enabled again."""
    return "active" if has_password else "invited"
