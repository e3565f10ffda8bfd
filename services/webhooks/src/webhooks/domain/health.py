"""When an endpoint has failed for so long that it is disabled: no success for some days and at least so many failures; warned at half."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Verdict = Literal["warn", "disable"]


@dataclass(frozen=True, slots=True)
class Patience:
    """What it takes to be disabled: both."""

    seconds: float
    failures: int


def verdict(
    patience: Patience, *, failing_since: datetime, failures: int, warned_at: datetime | None, now: datetime
) -> Verdict | None:
    """What is due for an endpoint that has had no success since `failing_since`; None: nothing yet, or nothing more."""
    failing = now - failing_since
    if failing >= timedelta(seconds=patience.seconds) and failures >= patience.failures:
        return "disable"
    half = failing >= timedelta(seconds=patience.seconds / 2) and failures * 2 >= patience.failures
    return "warn" if half and warned_at is None else None
