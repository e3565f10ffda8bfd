"""Periods begin at the anchor's day and time of day in the tenant's zone: 31 January, 28 February, 31 March.

A time of day that a change of clocks skips becomes the instant that would have been an hour later; one that comes twice means the first.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Interval = Literal["month", "year"]

_MONTHS: dict[Interval, int] = {"month": 1, "year": 12}
_LEAST: dict[Interval, timedelta] = {"month": timedelta(days=14), "year": timedelta(days=180)}
"""After a move to another zone a boundary may lie hours behind the last one: a period is never so short."""


def next_boundary(anchor: datetime, interval: Interval, after: datetime, zone: str) -> datetime:
    """The end of the period that begins at `after`, by the calendar of the zone."""
    tz, step = ZoneInfo(zone), _MONTHS[interval]
    local, begins = anchor.astimezone(tz), after.astimezone(tz)
    number = max(0, (12 * (begins.year - local.year) + begins.month - local.month) // step)
    while True:
        boundary = _months_later(local, number * step)
        if boundary >= after + _LEAST[interval]:
            return boundary
        number += 1


def days_between(start: datetime, end: datetime, zone: str) -> int:
    """Days of the calendar of the zone from one instant to a later one."""
    tz = ZoneInfo(zone)
    return (end.astimezone(tz).date() - start.astimezone(tz).date()).days


def _months_later(local: datetime, months: int) -> datetime:
    year, month = divmod(12 * local.year + local.month - 1 + months, 12)
    day = min(local.day, monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day, fold=0).astimezone(UTC)
