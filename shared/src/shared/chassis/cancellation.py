"""Work that ends in order although its caller is cancelled."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


async def finish(work: Coroutine[Any, Any, ResultT], *, grace_seconds: float | None = None) -> ResultT:
    """Await this work; if the caller is cancelled meanwhile, however often, the work still ends before the cancellation goes on.

    It then has `grace_seconds` before it is cancelled, too; without them it must have a bound of its own.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if grace_seconds is not None:
            asyncio.get_running_loop().call_later(grace_seconds, task.cancel)
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # Retrieved, so that asyncio does not log it as lost.
        raise
