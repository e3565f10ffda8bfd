"""Which hours are asked for."""

from collections.abc import Mapping
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)


def hours_until(now: datetime, count: int) -> list[datetime]:
    """The beginnings of the last `count` hours, the present one last."""
    present = now.replace(minute=0, second=0, microsecond=0)
    return [present - HOUR * before for before in reversed(range(count))]


def sums(counted: Mapping[datetime, tuple[int, int]]) -> tuple[int, int]:
    """Calls and errors of all hours together."""
    return sum(calls for calls, _ in counted.values()), sum(errors for _, errors in counted.values())
