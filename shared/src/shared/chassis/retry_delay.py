"""After failures in a row: how long to wait before the next try, and which of them to log."""

import random

DOUBLINGS_MAX = 10
LOGGED_EACH = 30


def retry_delay_seconds(failures: int, *, first: float, longest: float) -> float:
    """Seconds to wait after that many failures in a row (at least 1): doubling, bounded, with jitter down to one half."""
    seconds = min(longest, first * 2.0 ** min(failures - 1, DOUBLINGS_MAX))
    return float(seconds * random.uniform(0.5, 1))  # noqa: S311 - spreads load, guards nothing


def is_worth_logging(failures: int) -> bool:
    """True for the first, second, fourth, eighth … failure in a row, and for each thirtieth: enough to notice, not a flood."""
    return failures & (failures - 1) == 0 or failures % LOGGED_EACH == 0
