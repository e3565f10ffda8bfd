"""When a replaced signing key retires."""

from datetime import datetime, timedelta

KEY_RETIREMENT_MARGIN = timedelta(seconds=60)
"""How long a replaced key verifies after its last token has expired: clocks differ, and signers notice a rotation late."""


def retires_at(now: datetime, *, grace_seconds: float, session_seconds: int) -> datetime:
    """The instant from which no token signed with the replaced key is valid."""
    return now + timedelta(seconds=grace_seconds + session_seconds) + KEY_RETIREMENT_MARGIN
