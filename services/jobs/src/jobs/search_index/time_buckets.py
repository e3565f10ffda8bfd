"""Ranges of time as tokens, so that an index of tokens finds the rows of a range.

Time is cut into buckets on several levels; a bucket is eight times as long as one of the level below. A row is indexed under its bucket
of each level, and a range is covered by a few buckets of one level.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Literal

BucketKind = Literal["C", "U", "D"]
"""Hours of creation, hours of the last change, days scheduled for."""

LEVELS = 5
BUCKETS_MAX = 9
"""In which a span is asked for, at most: more would take longer to look up than they save."""

UNSCHEDULED_DAY = date.max
"""The day of what is not scheduled: later than all others."""

_LEVEL_SHIFT = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def hour_number(instant: datetime) -> int:
    """The number of the hour in which an instant lies."""
    return (instant - _EPOCH) // _HOUR


def day_number(value: date) -> int:
    """The number of a day."""
    return (value - _EPOCH.date()).days


def bucket_tokens(kind: BucketKind, number: int) -> Iterator[str]:
    """The terms under which an hour or a day is filed."""
    return (_bucket_token(kind, level, number >> level * _LEVEL_SHIFT) for level in range(LEVELS))


def covering_tokens(kind: BucketKind, first: int, last: int) -> list[str]:
    """Terms of which each hour or day from `first` to `last` has one, and few others do; none when the span is too long for that."""
    for level in range(LEVELS):
        start, end = first >> level * _LEVEL_SHIFT, last >> level * _LEVEL_SHIFT
        if end - start < BUCKETS_MAX:
            return [_bucket_token(kind, level, number) for number in range(start, end + 1)]
    return []


def _bucket_token(kind: BucketKind, level: int, number: int) -> str:
    return f"{kind}{level}:{number}"
