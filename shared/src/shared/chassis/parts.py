"""The parts of a process.

They start in the order given, restart with a delay when they fail, and stop in the reverse order, each within a bound.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import structlog
from fastapi import FastAPI

from shared.chassis.settings import Role, ServiceSettings

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
    settings: ServiceSettings,
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
    """Run a part, and again with back-off when it fails: the loop of an edge, which logs and goes on."""
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
        delay = min(RESTART_SECONDS_MAX, RESTART_SECONDS_MIN * 2**failures)
        failures = min(failures + 1, 10)
        await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter


def periodically(work: Callable[[], Awaitable[None]], seconds: float) -> Callable[[], Awaitable[None]]:
    """A part's `run` that does some work now and then every so many seconds."""

    async def run() -> None:
        while True:
            await work()
            await asyncio.sleep(seconds)

    return run


async def _stop(part: Part, task: asyncio.Task[None], bound_seconds: float) -> None:
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=bound_seconds)
    if not done:
        log.error("part_did_not_stop", part=part.name, bound_seconds=bound_seconds)
    elif not task.cancelled() and task.exception() is not None:
        log.error("part_failed_stopping", part=part.name, error=repr(task.exception()))
