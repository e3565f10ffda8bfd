"""uvicorn with this project's settings. A stop first reports "not ready", then drains."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from shared.chassis import refusals
from shared.chassis.acceptor import Acceptor, listeners
from shared.chassis.connection_bounds import Bounded
from shared.chassis.http_protocol import BoundedConfig, BoundedProtocol
from shared.chassis.settings import ProcessSettings

log = structlog.get_logger()

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
TICKS_PER_CHECK = 5
"""uvicorn ticks ten times a second: twice a second it is looked for clients that are too slow."""
CLOSED_PER_TICK = 32
"""Of a crowd that is too slow, so many are closed in one tick: all at once they would take a long turn, and come back all at once."""


class Server(uvicorn.Server):
    """uvicorn; while draining, a stopping process reports "not ready" and still serves requests."""

    config: BoundedConfig

    def __init__(self, config: BoundedConfig, app: FastAPI, drain_seconds: float):
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds
        self._acceptors: list[Acceptor] = []
        self._closing: Iterator[Bounded] | None = None
        """Closes one connection of a slow client with each step, until there is none."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = not getattr(self._app.state, "draining", False)
        self._app.state.draining = True
        if first and self._drain_seconds > 0 and sig == signal.SIGTERM:
            asyncio.get_running_loop().call_later(self._drain_seconds, self._exit, sig, frame)
        else:
            self._exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn starts all but its own servers.
        await super().startup(sockets=[])
        config = self.config
        protocol = partial(BoundedProtocol, config, self.server_state, self.lifespan.state)
        try:
            listening = await listeners(config.host, config.port, config.backlog)
        except OSError as error:
            log.error("listening_failed", error=repr(error))
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        for listener in listening:
            acceptor = Acceptor(
                listener,
                protocol,
                addresses=config.addresses,
                lane=config.turns.openings,
                refusal=partial(refusals.answer, *refusals.TOO_MANY_CONNECTIONS),
            )
            self._acceptors.append(acceptor)
            self.servers.append(acceptor)  # type: ignore[arg-type]  # it has what uvicorn asks of a server

    async def on_tick(self, counter: int) -> bool:
        if self._closing is None and counter % TICKS_PER_CHECK == 0:
            self._closing = self._close_slow_clients()
        if self._closing is not None and len(list(islice(self._closing, CLOSED_PER_TICK))) < CLOSED_PER_TICK:
            self._closing = None
        return await super().on_tick(counter)

    def _close_slow_clients(self) -> Iterator[Bounded]:
        now = asyncio.get_running_loop().time()
        for acceptor in self._acceptors:
            for parked in acceptor.silent_since(now - self.config.bounds.head_seconds):
                parked.abort()
                yield parked
        for connection in list(self.server_state.connections):
            if isinstance(connection, BoundedProtocol) and connection.close_if_overdue(now):
                yield connection

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
