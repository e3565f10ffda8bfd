"""When a signing key retires."""

from datetime import datetime, timedelta

KEY_RETIREMENT_MARGIN = timedelta(seconds=60)
"""How much longer than the last token signed with it an old signing key verifies: clocks differ, and signers notice a rotation late."""


def retires_at(now: datetime, *, grace_seconds: float, session_seconds: int) -> datetime:
    """When no token signed with a replaced key can still run."""
    return now + timedelta(seconds=grace_seconds + session_seconds) + KEY_RETIREMENT_MARGIN
