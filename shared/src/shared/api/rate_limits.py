"""Rate limits: token buckets for each credential, tenant (as its plan says) and guessing address. Each replica counts alone."""

import math
import time
from collections import OrderedDict

from shared.access.principals import Caller
from shared.errors import TooManyRequests

BUCKETS_MAX = 100_000
WINDOW_SECONDS = 1.0
PLAN_FEATURE = "requests_per_second"
"""The feature of a plan that says how many requests a second a tenant may make, if that is less than the installation allows."""


class TokenBuckets:
    """Token buckets that refill at `rate_per_second` up to `burst`. A bucket that has filled up is dropped."""

    def __init__(self, rate_per_second: float, burst: float):
        self.rate_per_second = rate_per_second
        self.burst = max(burst, 1.0)
        self._life_seconds = max(self.burst / rate_per_second, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By name, those first that were used longest ago: what is left, and since when."""

    def level(self, name: str, now: float, share: float = 1.0) -> float:
        """The tokens that are left. The bucket has this share of the usual rate and size."""
        burst = max(self.burst * share, 1.0)
        tokens, updated = self._buckets.get(name, (burst, now))
        return min(burst, tokens + (now - updated) * self.rate_per_second * share)

    def take(self, name: str, share: float = 1.0) -> tuple[bool, float]:
        """Take one token; returns whether there was one, and how many are left."""
        now = time.monotonic()
        level = self.level(name, now, share)
        if level < 1:
            return False, level
        self._buckets[name] = (level - 1, now)
        self._buckets.move_to_end(name)
        self._drop_full(now)
        return True, level - 1

    def _drop_full(self, now: float) -> None:
        """Drop up to two buckets that have filled up, or that are too many: each use adds one at most."""
        for _ in range(2):
            oldest = next(iter(self._buckets))
            if now - self._buckets[oldest][1] <= self._life_seconds and len(self._buckets) <= BUCKETS_MAX:
                return
            self._buckets.popitem(last=False)

    def wait_seconds(self, level: float, share: float = 1.0) -> int:
        """Whole seconds until there is a token again."""
        return max(1, math.ceil((1 - level) / (self.rate_per_second * share)))


class RateLimits:
    """The buckets of one process."""

    def __init__(self, *, credential_rate: float, tenant_rate: float, failures_per_minute: float):
        self._credentials = TokenBuckets(credential_rate, credential_rate * WINDOW_SECONDS)
        self._tenants = TokenBuckets(tenant_rate, tenant_rate * WINDOW_SECONDS)
        self._failures = TokenBuckets(failures_per_minute / 60, failures_per_minute)

    def admit(self, caller: Caller) -> dict[str, str]:
        """Count one request; returns the rate limit headers. Raises `TooManyRequests`."""
        name = caller.credential_id or caller.subject_id or ""
        admitted, level = self._credentials.take(name)
        headers = self._headers("credential", self._credentials, level)
        if not admitted:
            raise self._refusal("credential", self._credentials, level)
        if caller.tenant_id_or_none is not None:
            share = self._share_of_plan(caller)
            admitted, tenant_level = self._tenants.take(caller.tenant_id_or_none, share)
            if not admitted:
                raise self._refusal("tenant", self._tenants, tenant_level, share)
        return headers

    def _share_of_plan(self, caller: Caller) -> float:
        """The share of a tenant's usual rate that its plan includes."""
        included = caller.principal.limit(PLAN_FEATURE)
        return 1.0 if included is None else min(1.0, max(included, 1) / self._tenants.rate_per_second)

    def charge_failure(self, address: str) -> None:
        """Count a wrong credential from this address. Raises `TooManyRequests` for an address that has presented too many."""
        charged, level = self._failures.take(address)
        if not charged:
            raise self._refusal("failed-authentication", self._failures, level)

    def _refusal(self, policy: str, buckets: TokenBuckets, level: float, share: float = 1.0) -> TooManyRequests:
        wait_seconds = buckets.wait_seconds(level, share)
        headers = {**self._headers(policy, buckets, 0, share), "Retry-After": str(wait_seconds)}
        return TooManyRequests(f"the {policy} rate limit is used up", headers=headers, retry_after_seconds=wait_seconds)

    @staticmethod
    def _headers(policy: str, buckets: TokenBuckets, level: float, share: float = 1.0) -> dict[str, str]:
        window = max(1, round(buckets.burst / buckets.rate_per_second))
        return {
            "RateLimit-Policy": f'"{policy}";q={int(max(buckets.burst * share, 1.0))};w={window}',
            "RateLimit": f'"{policy}";r={int(level)};t=1',
        }
