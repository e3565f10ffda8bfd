"""Nobody grants permissions that they lack, nobody changes their own rights, and the owner keeps all permissions."""

from shared.errors import Conflict, Forbidden


class OwnerProtected(Conflict):
    """An owner always has full permissions and stays until ownership is transferred."""

    code = "owner_protected"


def check_grantable(added: frozenset[str], held: frozenset[str]) -> None:
    """Nobody grants what they do not hold. Raises `Forbidden` that lists what is missing."""
    missing = sorted(added - held)
    if missing:
        raise Forbidden("you can grant only permissions that you hold", code="permission_not_held", missing=missing)


def check_not_self(actor: str, target: str) -> None:
    """Nobody changes their own rights. Raises `Forbidden`."""
    if actor == target:
        raise Forbidden("nobody changes their own permissions or status", code="own_account")


def check_not_owner(kind: str) -> None:
    """Raises `OwnerProtected`."""
    if kind == "owner":
        raise OwnerProtected("the owner always has full permissions; transfer the ownership first")
