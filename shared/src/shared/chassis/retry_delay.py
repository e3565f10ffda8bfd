"""The delay before the next try: it doubles, has a bound, and is jittered."""

import random

DOUBLINGS_MAX = 10


def retry_delay_seconds(failures: int, *, first: float, longest: float) -> float:
    """Seconds to wait after that many failures in a row (at least 1): doubling, bounded, with jitter down to one half."""
    seconds = min(longest, first * 2.0 ** min(failures - 1, DOUBLINGS_MAX))
    return float(seconds * random.uniform(0.5, 1))  # noqa: S311 - spreads load, guards nothing
