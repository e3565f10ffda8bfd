"""Throttles: how fast an endpoint is sent to, by a window of attempts in flight, a rate, and a circuit breaker.

The window starts small, grows by one with every success and is halved by every time-out, so that a receiver that hangs holds one or two
slots. Failures in a row open the circuit breaker: nothing is sent during a pause, then one attempt as a probe. A probe that succeeds closes
the breaker; one that fails doubles the pause. 429 and 503 hold the endpoint for as long as `Retry-After` says and halve its rate, which
recovers a little every second.
"""

import math
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from webhooks.http_client import Outcome

WINDOW_FIRST = 32
BREAKER_FAILURES = 10
PAUSE_SECONDS_MIN = 5.0
PAUSE_SECONDS_MAX = 300.0
BURST_SECONDS = 0.1
"""An idle endpoint may be sent at once as many requests as its rate allows in this time."""
SLOWED_RATE_MIN = 1.0
SLOWED_SHARE = 0.5
RECOVERY_PER_SECOND = 1.25
RECOVERED = 4.0
"""The lowered rate ends when it has grown to this many times its first value."""
SLOWED_ONCE_SECONDS = 1.0
"""Further 429 and 503 within this time do not lower the rate again."""

ResultClass = Literal["accepted", "refused", "busy", "unanswered"]
"""2xx; another response, or no connection; 429 or 503; a time-out."""
BUSY_STATUSES = (429, 503)


def result_class_of(outcome: Outcome) -> ResultClass:
    """The class of a failed attempt."""
    if outcome.cause == "timeout":
        return "unanswered"
    return "busy" if outcome.response_status in BUSY_STATUSES else "refused"


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """Limits of all endpoints."""

    window_max: int
    breaker_failures: int = BREAKER_FAILURES
    pause_seconds: float = PAUSE_SECONDS_MIN
    pause_seconds_max: float = PAUSE_SECONDS_MAX


class EndpointThrottle:
    """The throttle of one endpoint in one process. Instants are of the monotonic clock."""

    __slots__ = (
        "_allowed_at",
        "_limits",
        "_pause_seconds",
        "_probing",
        "_rate",
        "_slowed_at",
        "_slowed_from",
        "_slowed_rate",
        "failures",
        "held_until",
        "is_open",
        "window",
    )

    def __init__(self, limits: ThrottleLimits, rate_per_second: float | None):
        self._limits = limits
        self._rate = rate_per_second
        self._allowed_at = -math.inf
        """When the next attempt may begin by the rate: a token bucket, kept as an instant."""
        self._pause_seconds = limits.pause_seconds
        self._probing = False
        self._slowed_rate: float | None = None
        self._slowed_from = 0.0
        self._slowed_at = -math.inf
        self.window = min(WINDOW_FIRST, limits.window_max)
        self.failures = 0
        """Failures in a row."""
        self.is_open = False
        """The circuit breaker is open: only a probe may begin, after `held_until`."""
        self.held_until = -math.inf

    def set_rate(self, rate_per_second: float | None) -> None:
        """Set the endpoint's own rate limit."""
        self._rate = rate_per_second

    @property
    def rate(self) -> float | None:
        """Attempts per second now; None: no limit."""
        if self._slowed_rate is None:
            return self._rate
        return self._slowed_rate if self._rate is None else min(self._rate, self._slowed_rate)

    def is_held(self, now: float) -> bool:
        """True if no attempt may begin, because of the circuit breaker or `Retry-After`."""
        return now < self.held_until or self._probing

    def begin_at(self, now: float) -> float:
        """When the next attempt may begin; at once if this is not after `now`. Infinity while a probe is in flight."""
        if self._probing:
            return math.inf
        rate = self.rate
        return self.held_until if rate is None else max(self.held_until, self._allowed_at)

    def room(self, now: float, seconds: float) -> int | None:
        """How many attempts may begin within so many seconds; None: no limit."""
        if self.is_held(now):
            return 0
        if self.is_open:
            return 1
        rate = self.rate
        return None if rate is None else max(1, int(rate * seconds))

    def began(self, now: float) -> None:
        """An attempt has begun."""
        if self.is_open:
            self._probing = True
        rate = self.rate
        if rate is not None:
            step = 1 / rate
            self._allowed_at = max(self._allowed_at, now - max(0.0, BURST_SECONDS - step)) + step

    def ended(
        self, now: float, result_class: ResultClass, *, retry_after_seconds: float = 0.0, recent_rate: float = 0.0
    ) -> None:
        """An attempt has ended. `recent_rate`: attempts per second to this endpoint lately."""
        if result_class == "accepted":
            self._accepted(now)
            return
        self.failures += 1
        if result_class == "unanswered":
            self.window = max(1, self.window // 2)
        if result_class == "busy":
            self._slow_down(now, retry_after_seconds, recent_rate)
        if self._probing or (not self.is_open and self.failures >= self._limits.breaker_failures):
            self._open(now)

    def _accepted(self, now: float) -> None:
        self.failures = 0
        if self.is_open:
            self.is_open = self._probing = False
            self.held_until = -math.inf
            self._pause_seconds = self._limits.pause_seconds
        if self.window < self._limits.window_max:
            self.window += 1
        if self._slowed_rate is not None and now - self._slowed_at >= 1.0:
            self._slowed_rate *= RECOVERY_PER_SECOND
            self._slowed_at = now
            if self._slowed_rate > self._slowed_from * RECOVERED:
                self._slowed_rate = None

    def _open(self, now: float) -> None:
        if self.is_open:
            self._pause_seconds = min(self._pause_seconds * 2, self._limits.pause_seconds_max)
        self.is_open = True
        self._probing = False
        self.window = 1
        self.held_until = max(self.held_until, now + self._pause_seconds)

    def _slow_down(self, now: float, retry_after_seconds: float, recent_rate: float) -> None:
        self.held_until = max(self.held_until, now + retry_after_seconds)
        if now - self._slowed_at < SLOWED_ONCE_SECONDS and self._slowed_rate is not None:
            return
        rate = self.rate
        before = max(recent_rate, SLOWED_RATE_MIN) if rate is None else rate
        self._slowed_rate = max(SLOWED_RATE_MIN, before * SLOWED_SHARE)
        self._slowed_from = self._slowed_rate
        self._slowed_at = now


class EndpointThrottles:
    """The throttles of all endpoints, shared by both schedulers."""

    def __init__(self, limits: ThrottleLimits):
        self.limits = limits
        self._kept: dict[UUID, EndpointThrottle] = {}

    def of(self, endpoint_id: UUID, rate_per_second: float | None) -> EndpointThrottle:
        throttle = self._kept.get(endpoint_id)
        if throttle is None:
            throttle = self._kept[endpoint_id] = EndpointThrottle(self.limits, rate_per_second)
        return throttle

    def known(self, endpoint_id: UUID) -> EndpointThrottle | None:
        return self._kept.get(endpoint_id)

    def held(self, now: float) -> list[UUID]:
        """Endpoints to which nothing may be sent now."""
        return [endpoint_id for endpoint_id, throttle in self._kept.items() if throttle.is_held(now)]

    def pauses(self, now: float) -> dict[UUID, float]:
        """Seconds until the next probe of each endpoint whose circuit breaker is open."""
        return {
            endpoint_id: max(0.0, throttle.held_until - now)
            for endpoint_id, throttle in self._kept.items()
            if throttle.is_open
        }

    def open_count(self) -> int:
        return sum(throttle.is_open for throttle in self._kept.values())

    def keep_only(self, endpoint_ids: set[UUID], now: float) -> None:
        """Remove throttles of endpoints other than these, unless they are held or their breaker is open."""
        for endpoint_id, throttle in list(self._kept.items()):
            if endpoint_id not in endpoint_ids and not throttle.is_open and not throttle.is_held(now):
                del self._kept[endpoint_id]

    def forget(self, endpoint_id: UUID) -> None:
        """Remove the throttle of an endpoint that was disabled or deleted."""
        self._kept.pop(endpoint_id, None)
