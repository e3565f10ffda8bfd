"""LISTEN: notifications arrive, and a lost connection is made again and makes everything known doubtful."""

import asyncio

import asyncpg

from shared.chassis.parts import Wakeup
from shared.postgres.database import Database, plain_url
from shared.postgres.listener import Listener
from tests.harness.transport import running

CHANNEL = "tests_listener"
APPLICATION = "tests-listener"
SOON_SECONDS = 10.0


class Memory:
    """What a listener keeps up to date: notes what was called, in order."""

    def __init__(self, database: Database):
        self.calls: list[str] = []
        self._called = asyncio.Event()
        self._wakeup = Wakeup()
        self.listener = Listener(
            database,
            CHANNEL,
            application_name=APPLICATION,
            on_notify=self._on_notify,
            on_connected=lambda: self._note("connected"),
            on_lost=lambda: self._note("lost"),
            refresh=self._refresh,
            refresh_seconds=3600,
            wakeup=self._wakeup,
        )

    async def until(self, *calls: str) -> None:
        async with asyncio.timeout(SOON_SECONDS):
            while self.calls != list(calls):
                self._called.clear()
                await self._called.wait()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self._called.set()

    def _on_notify(self, payload: str) -> None:
        self._note(payload)
        self._wakeup.set()

    async def _refresh(self) -> None:
        self._note("refresh")
        raise RuntimeError("a failed refresh is left to the next one")


async def test_a_listener_hears_notifications_and_connects_again_after_a_loss(database: Database) -> None:
    memory = Memory(database)
    connection = await asyncpg.connect(plain_url(database.url))
    try:
        async with running(memory.listener.run):
            await memory.until("connected", "refresh")
            await connection.execute("SELECT pg_notify($1, 'one')", CHANNEL)
            await memory.until("connected", "refresh", "one", "refresh")
            memory.calls.clear()

            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", APPLICATION
            )

            await memory.until("lost", "connected", "refresh")
    finally:
        await connection.close()
