"""The parts of a process: what runs beside its API.

They start in the order given, start again with a delay when they fail, and stop in the reverse order, each within a bound. Nearly all are
made with `periodically`: work, and a wait that a `Wakeup` may end early.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from fastapi import FastAPI

from shared.chassis.retry_delay import is_worth_logging, retry_delay_seconds
from shared.chassis.settings import ProcessSettings, Role

log = structlog.get_logger()

RESTART_SECONDS_MIN = 0.2
RESTART_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs beside the API: `run` goes on until it is cancelled. Without a role it runs in every process."""

    name: str
    run: Callable[[], Awaitable[None]]
    role: Role | None = None


def lifespan(
    parts: Sequence[Part],
    *,
    settings: ProcessSettings,
    before: Callable[[], Awaitable[None]],
    after: Callable[[], Awaitable[None]],
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The app's lifespan: `before`, then the parts of this process's roles; at the end the parts in reverse, then `after`."""

    @asynccontextmanager
    async def manage(app: FastAPI) -> AsyncIterator[None]:
        await before()
        chosen = [part for part in parts if part.role is None or part.role in settings.role_set]
        running = [(part, asyncio.create_task(keep_running(part), name=part.name)) for part in chosen]
        log.info("started", roles=sorted(settings.role_set), parts=[part.name for part in chosen])
        try:
            yield
        finally:
            app.state.draining = True
            for part, task in reversed(running):
                await _stop(part, task, settings.shutdown_seconds)
            await after()
            log.info("stopped")

    return manage


async def keep_running(part: Part) -> None:
    """Run a part; when it fails, log that and run it again after a delay."""
    failures = 0
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await part.run()
            return
        except Exception:
            if asyncio.get_running_loop().time() - started > RESTART_SECONDS_MAX:
                failures = 0
            log.exception("part_failed", part=part.name, failures=failures)
        failures += 1
        await asyncio.sleep(retry_delay_seconds(failures, first=RESTART_SECONDS_MIN, longest=RESTART_SECONDS_MAX))


class Wakeup:
    """Ends a wait early. When it is set while nobody waits, the next wait ends at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """End the wait."""
        self._event.set()

    def clear(self) -> None:
        """Forget earlier calls of `set`: their work is about to be done."""
        self._event.clear()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self, seconds: float | None = None) -> None:
        """Return when it is set, or after this many seconds."""
        if seconds is not None and seconds <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


def periodically(
    work: Callable[[], Awaitable[float | None]],
    seconds: float,
    *,
    wakeup: Wakeup | None = None,
    jitter: float = 0.0,
    failure_event: str | None = None,
) -> Callable[[], Coroutine[Any, Any, None]]:
    """A part's `run`: does the work again and again until cancelled, with a wait after each time.

    The wait lasts as many seconds as the work returns, or `seconds` where it returns None, more or less by the share `jitter`. It ends
    early when `wakeup` is set, which is cleared before the work begins. With a `failure_event` what the work raises is logged under that
    name and the loop goes on; without, it ends the part, which then starts again after a delay.
    """
    waiting = wakeup or Wakeup()

    async def run() -> None:
        failures = 0
        while True:
            waiting.clear()
            try:
                wanted = await work()
                failures = 0
            except Exception:
                if failure_event is None:
                    raise
                failures += 1
                if is_worth_logging(failures):
                    log.warning(failure_event, failures=failures, exc_info=True)
                wanted = None
            pause = seconds if wanted is None else wanted
            await waiting.wait(pause * random.uniform(1 - jitter, 1 + jitter))  # noqa: S311 - spreads load, guards nothing

    return run


class Write(Protocol):
    """Writes what is due at an instant, or all the rest."""

    def __call__(self, now: datetime, *, rest: bool = False) -> Awaitable[object]: ...


async def periodically_until_the_end(write: Write, seconds: float) -> None:
    """Write what is due again and again until cancelled, and then once all the rest; that this fails is logged."""

    async def write_due() -> None:
        await write(datetime.now(UTC))

    try:
        await periodically(write_due, seconds)()
    except asyncio.CancelledError:
        try:
            await write(datetime.now(UTC), rest=True)
        except Exception:
            # The stop must not fail for this.
            log.warning("end_of_part_failed", exc_info=True)
        raise


async def _stop(part: Part, task: asyncio.Task[None], bound_seconds: float) -> None:
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=bound_seconds)
    if not done:
        log.error("part_did_not_stop", part=part.name, bound_seconds=bound_seconds)
    elif not task.cancelled() and task.exception() is not None:
        log.error("part_failed_stopping", part=part.name, error=repr(task.exception()))
