"""LISTEN: a connection that receives the notifications of one channel, and is made again when it is lost."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import structlog

from shared.chassis.parts import Wakeup
from shared.postgres.database import Database
from shared.postgres.driver_connection import connect

RECONNECT_SECONDS = 0.5

log = structlog.get_logger()


class Listener:
    """Keeps what a process holds in memory up to date with the database.

    `on_notify` gets each payload of the channel. `refresh` runs at once after connecting, and again after `refresh_seconds` or when
    `wakeup` is set: it finds what a lost notification would have said. If it fails, the next one makes up for it. Notifications are
    missed between `on_lost` and `on_connected`, so `on_connected` must assume that all that is in memory is stale.
    """

    def __init__(
        self,
        database: Database,
        channel: str,
        *,
        application_name: str,
        on_notify: Callable[[str], None],
        on_connected: Callable[[], None],
        on_lost: Callable[[], None],
        refresh: Callable[[], Awaitable[None]],
        refresh_seconds: float,
        wakeup: Wakeup | None = None,
    ):
        self._database = database
        self._channel = channel
        self._application_name = application_name
        self._on_notify = on_notify
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._refresh = refresh
        self._refresh_seconds = refresh_seconds
        self._wakeup = wakeup or Wakeup()

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("listener_lost", channel=self._channel, error=repr(error))
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self) -> None:
        connection = await connect(self._database, self._application_name)
        try:
            connection.add_termination_listener(lambda _: self._wakeup.set())
            await connection.add_listener(self._channel, lambda *notice: self._on_notify(str(notice[3])))
            self._on_connected()
            while not connection.is_closed():
                self._wakeup.clear()
                try:
                    await self._refresh()
                except Exception as error:
                    # Other parts report what is wrong with the database; here the next round tries again.
                    log.debug("listener_refresh_failed", channel=self._channel, error=repr(error))
                if not connection.is_closed():
                    await self._wakeup.wait(self._refresh_seconds)
        finally:
            self._on_lost()
            connection.terminate()
