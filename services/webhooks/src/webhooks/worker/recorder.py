"""Results are written in groups: whatever has come in while the last group was written is the next one.

No delivery pays for a transaction of its own, and none waits for more than a few milliseconds.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from shared.database import Database
from shared.http.app import is_transient
from webhooks import attempts
from webhooks.attempts import Result

GROUP_MAX = 500
GATHER_SECONDS = 0.004
BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 2.0

log = structlog.get_logger()


class Recorder:
    """Writes results until cancelled; while the database is away they wait, and with them the places of their attempts."""

    def __init__(self, database: Database):
        self._database = database
        self._waiting: deque[tuple[Result, asyncio.Future[None]]] = deque()
        self._arrived = asyncio.Event()
        self.stale = 0
        """Results that came after their lease was lost, so far."""

    async def record(self, result: Result) -> None:
        """Returns when the result is written (or was found to be too late)."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((result, done))
        self._arrived.set()
        await done

    async def run(self) -> None:
        """Write groups until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                if len(self._waiting) < GROUP_MAX:
                    await asyncio.sleep(GATHER_SECONDS)
                group = [self._waiting.popleft() for _ in range(min(GROUP_MAX, len(self._waiting)))]
                try:
                    await self._write([result for result, _ in group])
                finally:
                    for _, done in group:
                        if not done.done():
                            done.set_result(None)

    async def _write(self, results: Sequence[Result]) -> None:
        failures = 0
        while True:
            try:
                await self._in_transaction(results)
                return
            except Exception as error:
                failures += 1
                log.warning("results_not_recorded", results=len(results), failures=failures, exc_info=True)
                if not is_transient(error):
                    break
            # The leases of these results are renewed meanwhile, so nobody attempts them again.
            delay_seconds = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2.0 ** min(failures, 10))
            await asyncio.sleep(delay_seconds * random.uniform(0.5, 1))  # noqa: S311 - jitter
        await self._write_singly(results)

    async def _write_singly(self, results: Sequence[Result]) -> None:
        """One result that cannot be written must not hold up the others; its lease ends, and it is attempted again."""
        for result in results:
            try:
                await self._in_transaction([result])
            except Exception:
                log.exception("result_lost", delivery_id=str(result.leased.delivery_id))

    async def _in_transaction(self, results: Sequence[Result]) -> None:
        async with self._database.transaction() as session:
            recorded = await attempts.record(session, results, datetime.now(UTC))
        self.stale += len(results) - recorded
