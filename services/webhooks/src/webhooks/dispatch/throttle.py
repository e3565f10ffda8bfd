"""How fast an endpoint may be sent to: a window of attempts at once, a rate, and a circuit breaker.

The window begins small, grows with every answer in time and is halved by every time-out, so that a receiver that hangs holds one or
two slots. Failures in a row open the breaker: nothing is sent for a while, then one attempt is let through as a probe, and each
probe that fails doubles the pause. 429 and 503 hold the whole endpoint for as long as `Retry-After` says, and halve its rate, which then
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
"""So much of its rate an endpoint may have at once after a rest."""
SLOWED_RATE_MIN = 1.0
SLOWED_SHARE = 0.5
RECOVERY_PER_SECOND = 1.25
RECOVERED = 4.0
"""Slowing down is over when the rate is so many times what it was slowed down to at first."""
SLOWED_ONCE_SECONDS = 1.0
"""A burst of refusals is one refusal."""

ResultClass = Literal["accepted", "refused", "busy", "unanswered"]
"""2xx; another answer, or no connection; 429 or 503; nothing in time."""
BUSY_STATUSES = (429, 503)


def result_class_of(outcome: Outcome) -> ResultClass:
    """How an attempt that was not accepted counts."""
    if outcome.cause == "timeout":
        return "unanswered"
    return "busy" if outcome.response_status in BUSY_STATUSES else "refused"


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """What holds for every endpoint, unless its own rate is lower."""

    window_max: int
    breaker_failures: int = BREAKER_FAILURES
    pause_seconds: float = PAUSE_SECONDS_MIN
    pause_seconds_max: float = PAUSE_SECONDS_MAX


class EndpointThrottle:
    """The pace of one endpoint in one process. Instants are of one monotonic clock."""

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
        """When the next attempt may begin at this rate (the bucket's level, as an instant)."""
        self._pause_seconds = limits.pause_seconds
        self._probing = False
        self._slowed_rate: float | None = None
        self._slowed_from = 0.0
        self._slowed_at = -math.inf
        self.window = min(WINDOW_FIRST, limits.window_max)
        self.failures = 0
        """In a row."""
        self.is_open = False
        """The breaker's state: nothing but a probe, and that after `held_until`."""
        self.held_until = -math.inf

    def set_rate(self, rate_per_second: float | None) -> None:
        """The endpoint's own limit, from now on."""
        self._rate = rate_per_second

    @property
    def rate(self) -> float | None:
        """Attempts per second at the moment; None: no limit."""
        if self._slowed_rate is None:
            return self._rate
        return self._slowed_rate if self._rate is None else min(self._rate, self._slowed_rate)

    def is_held(self, now: float) -> bool:
        """Whether nothing may begin, by the breaker or by `Retry-After`."""
        return now < self.held_until or self._probing

    def begin_at(self, now: float) -> float:
        """When another attempt may begin, as far as time decides: `now` or earlier for at once, infinity while a probe is under way."""
        if self._probing:
            return math.inf
        rate = self.rate
        return self.held_until if rate is None else max(self.held_until, self._allowed_at)

    def room(self, now: float, seconds: float) -> int | None:
        """How many may begin within so many seconds; None: time sets no limit."""
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
        """An attempt has ended. `recent_rate` is what the endpoint has been getting lately, per second."""
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
    """The paces of endpoints, which both lanes share."""

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
        """Endpoints to which nothing may be sent at the moment."""
        return [endpoint_id for endpoint_id, throttle in self._kept.items() if throttle.is_held(now)]

    def open_count(self) -> int:
        return sum(throttle.is_open for throttle in self._kept.values())

    def keep_only(self, endpoint_ids: set[UUID], now: float) -> None:
        """Forget those that have nothing to remember and are in no lane."""
        for endpoint_id, throttle in list(self._kept.items()):
            if endpoint_id not in endpoint_ids and not throttle.is_open and not throttle.is_held(now):
                del self._kept[endpoint_id]

    def forget(self, endpoint_id: UUID) -> None:
        """The endpoint is not there any more."""
        self._kept.pop(endpoint_id, None)
