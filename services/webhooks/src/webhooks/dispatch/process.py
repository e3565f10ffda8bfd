"""What a process needs that has thousands of attempts under way."""

import gc
import resource

import structlog

FILES_BESIDES = 512
COLLECTED_AFTER = (20_000, 20, 50)
"""Objects, and collections of the younger generations."""

log = structlog.get_logger()


def allow_files(wanted: int) -> None:
    """Each attempt and each connection kept is an open file: raise this process's soft limit as far as the hard limit lets us."""
    wanted += FILES_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    if target < wanted:
        log.warning("few_open_files", allowed=target, wanted=wanted)


def collect_seldom() -> None:
    """Thousands of deliveries wait in memory, and none of them is part of a cycle: looking for cycles took a quarter of the time."""
    gc.set_threshold(*COLLECTED_AFTER)
