"""uvicorn with this project's settings. A stop first reports "not ready", then drains."""

import asyncio
import gc
import signal
from types import FrameType

import uvicorn
from fastapi import FastAPI

from shared.chassis.http_protocol import BoundedConfig, BoundedProtocol
from shared.chassis.settings import ProcessSettings

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
TICKS_PER_CHECK = 5
"""uvicorn ticks ten times a second: twice a second it is looked for clients that are too slow."""


class Server(uvicorn.Server):
    """uvicorn; while draining, a stopping process reports "not ready" and still serves requests."""

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

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_CHECK == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.close_if_overdue(now)
        return await super().on_tick(counter)

    def _exit(self, sig: int, frame: FrameType | None) -> None:
        loop = asyncio.get_running_loop()
        for end in self._app.state.streams:
            loop.call_soon_threadsafe(end)
        super().handle_exit(sig, frame)
        # Otherwise uvicorn raises the signal again after an orderly stop, and the exit status says "killed".
        self._captured_signals.clear()


def serve(app: FastAPI, settings: ProcessSettings) -> None:
    """Serve until SIGTERM or SIGINT; returns when everything has stopped in order."""
    config = BoundedConfig(
        app,
        settings,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        access_log=False,
        log_config=None,
        server_header=False,
        # Rate limits depend on the client's address: no header may set it.
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
    """Exclude the objects that exist now from garbage collection: a full collection of them takes 0.1 s."""
    gc.collect()
    gc.freeze()
