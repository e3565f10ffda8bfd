"""What a refresh token and a tenant's status allow."""

from datetime import datetime
from typing import Literal

from shared.errors import Forbidden

RefreshDecision = Literal["renew", "refuse", "end_session"]


def decide_refresh(
    *, used_at: datetime | None, ended_at: datetime | None, expires_at: datetime, now: datetime, active: bool
) -> RefreshDecision:
    """What to do with a refresh token, given when it was used, its session's end and expiry, and whether its person is active.

    A token that is used twice was stolen: its session ends. A token of a session that has ended or expired is refused.
    """
    if ended_at is not None:
        return "refuse"
    if used_at is not None:
        return "end_session"
    return "renew" if active and now < expires_at else "refuse"


def check_tenant_active(status: str) -> None:
    """Raises `Forbidden` for a suspended or closed tenant."""
    if status != "active":
        raise Forbidden(f"this tenant is {status}", code=f"tenant_{status}")
