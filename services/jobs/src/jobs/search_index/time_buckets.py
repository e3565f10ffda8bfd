"""Time ranges as tokens, so that the token index finds the rows of a range.

Time is divided into buckets on five levels; a bucket is eight times as long as one of the level below. A row has the token of its bucket on
every level, and a range is covered by at most nine buckets of one level. Example: day 21945 (2030-01-31) has the tokens `D0:21945`,
`D1:2743`, `D2:342`, `D3:42` and `D4:5`; the range of days 21940 to 21950 is covered by `D1:2742` and `D1:2743`.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Literal

BucketKind = Literal["C", "U", "D"]
"""Hour of creation, hour of the last update, scheduled day."""

LEVELS = 5
BUCKETS_MAX = 9
"""Largest number of tokens that cover a range: looking up more would cost more than it saves."""

UNSCHEDULED_DAY = date.max
"""The day of a job without a date: it sorts after all others."""

_LEVEL_SHIFT = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def hour_number(instant: datetime) -> int:
    """The number of the hour that contains this instant, counted from 1970."""
    return (instant - _EPOCH) // _HOUR


def day_number(value: date) -> int:
    """The number of this day, counted from 1970-01-01."""
    return (value - _EPOCH.date()).days


def bucket_tokens(kind: BucketKind, number: int) -> Iterator[str]:
    """The tokens of an hour or a day: one per level."""
    return (_bucket_token(kind, level, number >> level * _LEVEL_SHIFT) for level in range(LEVELS))


def covering_tokens(kind: BucketKind, first: int, last: int) -> list[str]:
    """Tokens that cover the hours or days from `first` to `last`, and little beyond; empty when the range is too long for that.

    Every hour or day of the range has exactly one of them.
    """
    for level in range(LEVELS):
        start, end = first >> level * _LEVEL_SHIFT, last >> level * _LEVEL_SHIFT
        if end - start < BUCKETS_MAX:
            return [_bucket_token(kind, level, number) for number in range(start, end + 1)]
    return []


def _bucket_token(kind: BucketKind, level: int, number: int) -> str:
    return f"{kind}{level}:{number}"
