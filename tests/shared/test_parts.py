"""Loops of background work: when the work is done, how long they wait, and what a failure does."""

import asyncio

import pytest
import structlog

from shared.chassis.parts import Wakeup, periodically
from tests.harness.transport import running

LONG_SECONDS = 60.0
SOON_SECONDS = 5.0


class Work:
    """Counts its rounds, and returns or raises what a test gives it."""

    def __init__(self, *results: float | Exception | None):
        self._results = list(results)
        self.rounds = 0
        self.waits = asyncio.Event()

    async def __call__(self) -> float | None:
        self.rounds += 1
        result = self._results.pop(0) if self._results else None
        if not self._results:
            self.waits.set()
        if isinstance(result, Exception):
            raise result
        return result


async def test_work_decides_how_long_its_loop_waits() -> None:
    work = Work(0.0, 0.001, None)

    async with asyncio.timeout(SOON_SECONDS), running(periodically(work, LONG_SECONDS)):
        await work.waits.wait()

    assert work.rounds == 3


async def test_a_wakeup_ends_the_wait_also_when_it_was_set_during_the_work() -> None:
    wakeup = Wakeup()
    rounds = 0
    done = asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            wakeup.set()
        else:
            done.set()

    async with asyncio.timeout(SOON_SECONDS), running(periodically(work, LONG_SECONDS, wakeup=wakeup)):
        await done.wait()

    assert rounds == 2


async def test_a_loop_with_a_failure_event_logs_and_goes_on() -> None:
    work = Work(ValueError("no"), None)

    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(SOON_SECONDS), running(periodically(work, 0.001, failure_event="work_failed")):
            await work.waits.wait()

    assert [entry["event"] for entry in logs] == ["work_failed"]


async def test_a_loop_without_a_failure_event_ends_with_what_the_work_raises() -> None:
    with pytest.raises(ValueError, match="no"):
        await periodically(Work(ValueError("no")), LONG_SECONDS)()


async def test_a_wait_without_seconds_lasts_until_the_wakeup_is_set() -> None:
    wakeup = Wakeup()
    waiting = asyncio.create_task(wakeup.wait())
    await asyncio.sleep(0.01)
    assert not waiting.done()

    wakeup.set()

    await asyncio.wait_for(waiting, SOON_SECONDS)
