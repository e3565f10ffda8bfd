"""How a service's process lives: its roles, its parts, an orderly start and stop, and its commands.

A part is a coroutine that runs until it is cancelled. Parts start in the order given and stop in the reverse order, each within a
bound: consumers first, then workers, then the relay (so that what they published still leaves), then the pools.
"""

import asyncio
import gc
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from shared.config import Role, ServiceSettings

log = structlog.get_logger()

RESTART_SECONDS_MIN = 0.2
RESTART_SECONDS_MAX = 10.0
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75


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


class Server(uvicorn.Server):
    """uvicorn, with a time in which a stopping process says "not ready" and still serves what comes in."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float):
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = not getattr(self._app.state, "draining", False)
        self._app.state.draining = True
        if first and self._drain_seconds > 0 and sig == signal.SIGTERM:
            asyncio.get_running_loop().call_later(self._drain_seconds, self._exit, sig, frame)
        else:
            self._exit(sig, frame)

    def _exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        # uvicorn would raise the signal once more after an orderly stop, and so report it as a death.
        self._captured_signals.clear()


def serve(app: FastAPI, settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT; returns when everything has stopped in order."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        # Whom a request comes from decides about rate limits: nobody may choose it by a header.
        proxy_headers=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(settings.shutdown_seconds) or 1,
        lifespan="on",
    )
    settle_memory()
    Server(config, app, settings.drain_seconds).run()


def settle_memory() -> None:
    """Keep what a process begins with out of every later collection of garbage: looking through it all takes a tenth of a second."""
    gc.collect()
    gc.freeze()
