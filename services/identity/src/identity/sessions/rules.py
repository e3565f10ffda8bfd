"""From which instant the session tokens of a person are valid."""

from datetime import datetime, timedelta


def next_valid_from(now: datetime, valid_from: datetime) -> datetime:
    """The instant before which tokens are refused from now on; it only grows."""
    return max(now, valid_from)


def token_issued_at(now: datetime, valid_from: datetime) -> datetime:
    """When a new token says that it was issued: never before the instant from which its subject's tokens are good."""
    return max(now, valid_from + timedelta(microseconds=1))
