"""What follows from an attempt: delivered, again later, or given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

Cause = Literal["dns", "tls", "connect", "timeout", "blocked", "too_large", "status", "protocol", "secret_unreadable"]
Failure = Literal["exhausted", "gone", "endpoint_disabled", "endpoint_deleted"]

GONE = 410
JITTER = 0.2
RETRY_AFTER_SECONDS_MAX = 24 * 3600.0
_RETRY_AFTER_LENGTH_MAX = 64


class Timings(NamedTuple):
    """Milliseconds that the phases of one attempt took; None where there was no such phase (kept connection, known name).

    A phase that failed has its time until then, so the last one that is there tells where a deadline passed.
    """

    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None
    """From the request's first byte out to the answer's first byte in."""
    total_ms: int | None = None


_UNTIMED = Timings()


# Made for each attempt: a frozen one takes three times as long to make.
@dataclass(slots=True)
class Outcome:
    """What one attempt met. `cause` None: the receiver accepted (2xx, complete answer, in time)."""

    started_us: int
    """When it began: microseconds since 1970."""
    latency_ms: int
    cause: Cause | None
    response_status: int | None = None
    response_body: str | None = None
    retry_after: str | None = None
    timings: Timings = _UNTIMED


@dataclass(frozen=True, slots=True)
class Decision:
    """`retry_seconds` None and `failure` None: delivered."""

    retry_seconds: float | None = None
    failure: Failure | None = None

    @property
    def delivered(self) -> bool:
        return self.retry_seconds is None and self.failure is None

    @property
    def disables_endpoint(self) -> bool:
        return self.failure == "gone"


def decide(outcome: Outcome, *, attempt: int, schedule: Sequence[float], now: datetime, chance: float) -> Decision:
    """What to do after attempt number `attempt` (from 1). `schedule` holds the seconds between attempts; `chance` is in [0, 1)."""
    if outcome.cause is None:
        return Decision()
    if outcome.response_status == GONE:
        return Decision(failure="gone")
    if attempt > len(schedule):
        return Decision(failure="exhausted")
    delay_seconds = schedule[attempt - 1] * (1 - JITTER + 2 * JITTER * chance)
    # A receiver that names a time is not asked before it; jitter comes only on our own schedule.
    return Decision(retry_seconds=max(delay_seconds, retry_after_seconds(outcome.retry_after, now)))


def retry_after_seconds(value: str | None, now: datetime) -> float:
    """Seconds that a `Retry-After` (seconds or HTTP date) asks for, 24 hours at most; 0 for none or nonsense."""
    if value is None or len(value) > _RETRY_AFTER_LENGTH_MAX:
        return 0.0
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_SECONDS_MAX)
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return 0.0
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return min(max(0.0, (instant - now).total_seconds()), RETRY_AFTER_SECONDS_MAX)
