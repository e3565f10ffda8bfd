"""What follows from an attempt: delivered, retried later, or given up."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from uuid import UUID

from webhooks.http_client import Outcome


def delivery_id(event_id: UUID, endpoint_id: UUID) -> UUID:
    """The public id of a delivery: a UUID of version 7 with the millisecond of the event and a digest of event and endpoint."""
    digest = int.from_bytes(hashlib.sha256(event_id.bytes + endpoint_id.bytes).digest()[:10])
    return UUID(int=event_id.int >> 80 << 80 | digest & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)


Failure = Literal["exhausted", "gone", "endpoint_disabled", "endpoint_deleted"]

GONE_STATUS = 410
JITTER = 0.2
RETRY_AFTER_SECONDS_MAX = 24 * 3600.0
_RETRY_AFTER_LENGTH_MAX = 64


@dataclass(frozen=True, slots=True)
class Decision:
    """Delivered if `retry_seconds` and `failure` are both None; retried after `retry_seconds`; or given up because of `failure`."""

    retry_seconds: float | None = None
    failure: Failure | None = None

    @property
    def disables_endpoint(self) -> bool:
        return self.failure == "gone"


def decide(outcome: Outcome, *, attempt: int, schedule: Sequence[float], now: datetime, chance: float) -> Decision:
    """The decision after attempt number `attempt` (from 1).

    `schedule` has the seconds between attempts; `chance` in [0, 1) sets the jitter.
    """
    if outcome.cause is None:
        return Decision()
    if outcome.response_status == GONE_STATUS:
        return Decision(failure="gone")
    if attempt > len(schedule):
        return Decision(failure="exhausted")
    delay_seconds = schedule[attempt - 1] * (1 - JITTER + 2 * JITTER * chance)
    # `Retry-After` only ever delays, and gets no jitter: a receiver is not asked before the time that it named.
    return Decision(retry_seconds=max(delay_seconds, retry_after_seconds(outcome.retry_after, now)))


def retry_after_seconds(value: str | None, now: datetime) -> float:
    """The seconds of a `Retry-After` header (seconds or HTTP date), 24 hours at most; 0 if it is missing or malformed."""
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
