"""Waiting for what comes a moment later: every wait has a bound."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

WAIT_SECONDS = 60.0
"""Longer than Kafka keeps the partitions of a consumer that is gone, which its successor may have to wait for."""

PAUSE_SECONDS_MIN = 0.02
PAUSE_SECONDS_MAX = 0.25
PAUSE_SHARE = 0.1
"""A condition is looked at again after this share of the time waited so far: looking costs what others wait for."""

ValueT = TypeVar("ValueT")


@overload
async def eventually(
    probe: Callable[[], Awaitable[ValueT | None]], *, seconds: float = ..., what: str = ...
) -> ValueT: ...
@overload
async def eventually(probe: Callable[[], ValueT | None], *, seconds: float = ..., what: str = ...) -> ValueT: ...
async def eventually(
    probe: Callable[[], object], *, seconds: float = WAIT_SECONDS, what: str = "the condition"
) -> object:
    """The first value of `probe` that is neither None nor False; fails the test after `seconds`."""
    started = time.monotonic()
    while True:
        value = probe()
        if inspect.isawaitable(value):
            value = await value
        if value is not None and value is not False:
            return value
        waited = time.monotonic() - started
        if waited > seconds:
            raise AssertionError(f"{what}: not seen within {seconds} s")
        await asyncio.sleep(min(PAUSE_SECONDS_MAX, max(PAUSE_SECONDS_MIN, waited * PAUSE_SHARE)))
