"""How long invitations, password resets and e-mail changes are valid, how often a reset is mailed, how many places are known."""

from collections.abc import Sequence
from datetime import datetime, timedelta

INVITATION_LIFE = timedelta(days=7)
EMAIL_CHANGE_LIFE = timedelta(days=1)
RESET_LIFE = timedelta(minutes=20)
PLACES_MAX = 20
RESETS_COUNTED = timedelta(hours=1)
RESETS_PROMPT = 3
"""Mails within that time that may follow one another soon."""
RESET_PAUSE = timedelta(minutes=1)
RESET_PAUSE_LATER = timedelta(minutes=5)
"""Shorter than a reset is valid: whoever asks again and again leaves the owner of the account a mail that works."""


def is_token_open(expires_at: datetime | None, now: datetime) -> bool:
    """Whether the token of a reset, or of an e-mail change, is valid."""
    return expires_at is not None and now < expires_at


def recent_resets(mailed_at: Sequence[datetime], now: datetime) -> list[datetime]:
    """The mails that still count."""
    return [at for at in mailed_at if now - at < RESETS_COUNTED]


def may_mail_reset(mailed_at: Sequence[datetime], now: datetime) -> bool:
    """Whether another reset may be mailed to a person. If not, the one that was mailed before stays valid."""
    recent = recent_resets(mailed_at, now)
    if not recent:
        return True
    return now - max(recent) >= (RESET_PAUSE if len(recent) < RESETS_PROMPT else RESET_PAUSE_LATER)


def add_place(places: Sequence[bytes], place: bytes) -> list[bytes] | None:
    """The known places with a new one, of which the oldest go; None if it is known."""
    return None if place in places else [*places[1 - PLACES_MAX :], place]
