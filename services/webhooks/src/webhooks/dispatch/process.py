"""Settings of a process with thousands of attempts in flight."""

import gc
import resource

import structlog

FILES_BESIDES = 512
COLLECTED_AFTER = (20_000, 20, 50)
"""Thresholds of the garbage collector: new objects, and collections of the two younger generations."""

log = structlog.get_logger()


def allow_files(wanted: int) -> None:
    """Raise the soft limit of open files to `wanted` or to the hard limit: each attempt and each idle connection is an open file."""
    wanted += FILES_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    if target < wanted:
        log.warning("few_open_files", allowed=target, wanted=wanted)


def collect_garbage_less_often() -> None:
    """Raise the thresholds: thousands of deliveries wait in memory without cycles, and searching them took a quarter of the time."""
    gc.set_threshold(*COLLECTED_AFTER)
