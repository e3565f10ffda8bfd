"""Which events are told of, and how many days are left."""

from datetime import datetime, timedelta

TOLD_OF_WITHIN = timedelta(days=3)
"""Older events are not told of: a consumer that begins with the first event must not write to people about last year."""
KEPT = timedelta(days=7)
"""How long it is remembered that an event was told of. Later it is too old anyhow."""
RECIPIENTS_MAX = 50
"""People of one tenant who are written to about one event; the owner is always among them."""


def is_recent(at: datetime, now: datetime) -> bool:
    """Whether an event is told of."""
    return now - at <= TOLD_OF_WITHIN


def days_left(ends_at: datetime, now: datetime) -> int:
    """Days until an instant, rounded: a reminder that comes a moment late says the same. At least 1."""
    return max(1, round((ends_at - now) / timedelta(days=1)))
