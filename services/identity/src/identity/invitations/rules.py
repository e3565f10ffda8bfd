"""When an invitation can be accepted, by whom it is managed, and with which permissions it comes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from shared.errors import Forbidden

STAFF = "settings.staff.write"
MERCHANTS = "settings.merchants.write"
InvitationStatus = Literal["open", "expired", "withdrawn"]


def status_of(expires_at: datetime | None, now: datetime) -> InvitationStatus:
    """The status of an invitation; a withdrawn one has no expiry."""
    if expires_at is None:
        return "withdrawn"
    return "open" if now < expires_at else "expired"


def is_open(expires_at: datetime | None, now: datetime, *, person_status: str) -> bool:
    """Whether an invitation can be accepted."""
    return person_status != "disabled" and status_of(expires_at, now) == "open"


def check_may_manage(kind: str, held: frozenset[str]) -> None:
    """Raises `Forbidden`: invitations of users need the permission for staff, others that for merchants."""
    required = STAFF if kind == "user" else MERCHANTS
    if required not in held:
        raise Forbidden(f"the permission {required} is missing", code="permission_missing", required=[required])


def still_grantable(offered: Mapping[str, frozenset[str]], held: frozenset[str]) -> list[str]:
    """Those of the offered permissions, each with all that it includes, that somebody who holds these could grant."""
    return [code for code, included in offered.items() if included <= held]
