"""Spans of time as terms, so that an index of terms finds what lies in one.

Time is cut into blocks, on several levels; a block is eight times as long as those of the level below. A row is filed under the block
of each level in which it lies, and asked for by the few blocks of one level that cover a span.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Literal

Kind = Literal["C", "U", "D"]
"""Hours of creation, hours of the last change, days scheduled for."""

LEVELS = 5
BLOCKS_MAX = 9
"""In which a span is asked for, at most: more would take longer to look up than they save."""

NEVER = date.max
"""The day of what is not scheduled: later than all others."""

_BLOCK_SHIFT = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def hour(instant: datetime) -> int:
    """The number of the hour in which an instant lies."""
    return (instant - _EPOCH) // _HOUR


def day(value: date) -> int:
    """The number of a day."""
    return (value - _EPOCH.date()).days


def blocks(kind: Kind, number: int) -> Iterator[str]:
    """The terms under which an hour or a day is filed."""
    return (_block(kind, level, number >> level * _BLOCK_SHIFT) for level in range(LEVELS))


def covering(kind: Kind, first: int, last: int) -> list[str]:
    """Terms of which each hour or day from `first` to `last` has one, and few others do; none when the span is too long for that."""
    for level in range(LEVELS):
        start, end = first >> level * _BLOCK_SHIFT, last >> level * _BLOCK_SHIFT
        if end - start < BLOCKS_MAX:
            return [_block(kind, level, number) for number in range(start, end + 1)]
    return []


def _block(kind: Kind, level: int, number: int) -> str:
    return f"{kind}{level}:{number}"
