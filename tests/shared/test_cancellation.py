"""Work that ends in order although its caller is cancelled."""

import asyncio

import pytest

from shared.chassis.cancellation import finish

SOON_SECONDS = 5.0


async def test_work_ends_before_the_cancellation_of_its_caller_goes_on() -> None:
    free, ended = asyncio.Event(), []

    async def work() -> None:
        await free.wait()
        ended.append("work")

    caller = asyncio.create_task(finish(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    free.set()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(caller, SOON_SECONDS)
    assert ended == ["work"]


async def test_work_is_cancelled_when_its_grace_is_over() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    caller = asyncio.create_task(finish(work(), grace_seconds=0.01))
    await asyncio.sleep(0)
    caller.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(caller, SOON_SECONDS)
    assert ended == ["work"]


async def test_the_result_and_the_error_of_work_are_those_of_the_call() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> int:
        raise LookupError

    assert await finish(answer()) == 42
    with pytest.raises(LookupError):
        await finish(fail())
