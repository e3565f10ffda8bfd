"""From which instant the session tokens of a person are valid."""

from datetime import datetime, timedelta


def next_valid_from(now: datetime, valid_from: datetime) -> datetime:
    """The instant before which a person's tokens are refused from now on. It only grows."""
    return max(now, valid_from)


def token_issued_at(now: datetime, valid_from: datetime) -> datetime:
    """The instant of issue of a new token: always after the instant before which the person's tokens are refused."""
    return max(now, valid_from + timedelta(microseconds=1))
