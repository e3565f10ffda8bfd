"""The result writer: writes, group by group, the results of attempts, released deliveries, and slow first attempts.

A delivery needs no transaction of its own, and waits only some milliseconds. There is one writer, so a delivery never moves to the queue
while its result is being written. While the database is unavailable results wait, and with `UNRECORDED_MAX` of them no attempt begins.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from shared.chassis.parts import Wakeup
from shared.chassis.retry_delay import retry_delay_seconds
from shared.ids import from_uuid
from shared.postgres.database import Database
from webhooks import deliveries, endpoints, queue
from webhooks.deliveries import AttemptResult
from webhooks.postgres import AutocommitConnection, is_transient
from webhooks.queue import Lease, LeasedDelivery, new_token

GROUP_MAX = 500
UNRECORDED_MAX = 8192
"""Unrecorded results with which no new attempt begins."""
GATHER_SECONDS = 0.02
BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 2.0

log = structlog.get_logger()


class ResultWriter:
    """Writes until cancelled. `recorded` is called after each group with the results whose lease was still held."""

    def __init__(
        self, database: Database, *, lease_seconds: float, recorded: Callable[[Sequence[AttemptResult]], None]
    ):
        self._database = database
        self.autocommit = AutocommitConnection(database, "webhooks-result-writer")
        self._lease_seconds = lease_seconds
        self._recorded = recorded
        self._results: deque[AttemptResult] = deque()
        self._returned: deque[LeasedDelivery] = deque()
        self._slow: dict[LeasedDelivery, None] = {}
        """Each once, in order: one that waits here is found to be slow again, and must leave its batch lease once."""
        self._arrived = Wakeup()
        self._writing = False
        self.batch_leases: dict[int, Lease] = {}
        """Batch leases of this process with unrecorded deliveries, by token."""
        self.stale = 0
        """Results that came after their lease had expired, so far."""

    @property
    def is_behind(self) -> bool:
        return len(self._results) >= UNRECORDED_MAX

    def add(self, result: AttemptResult) -> None:
        """Write this result with the next group."""
        result.leased.ended = True
        self._results.append(result)
        self._arrived.set()

    def release(self, held: Collection[LeasedDelivery]) -> None:
        """Make deliveries without an attempt in flight due for any worker."""
        if held:
            self._returned.extend(held)
            self._arrived.set()

    def move_to_queue(self, slow: Collection[LeasedDelivery]) -> None:
        """Move slow first attempts from their batch lease to the queue, where they are shown as pending. This worker keeps them."""
        if slow:
            self._slow.update(dict.fromkeys(slow))
            self._arrived.set()

    async def run(self) -> None:
        """Write groups until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._results or self._returned or self._slow:
                if len(self._results) < GROUP_MAX:
                    await asyncio.sleep(GATHER_SECONDS)
                await self._write_all()

    async def close(self) -> None:
        """Close the connection, after `run` has ended."""
        await self.autocommit.close()

    async def drain(self, seconds: float) -> None:
        """Wait until everything is written, at most for so long."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at and (self._results or self._returned or self._slow or self._writing):  # noqa: ASYNC110 - once
            await asyncio.sleep(GATHER_SECONDS)

    async def renew(self) -> None:
        """Renew the batch leases that have unrecorded deliveries."""
        held_until = time.monotonic() + self._lease_seconds
        aging = [
            token
            for token, lease in self.batch_leases.items()
            if lease.held_until < held_until - self._lease_seconds / 4
        ]
        if not aging:
            return
        async with self._database.transaction() as session:
            ours = await queue.renew_batches(session, aging, self._lease_seconds)
        for token in aging:
            lease = self.batch_leases.get(token)
            if lease is not None and token in ours:
                lease.held_until = held_until
            elif lease is not None and lease.unrecorded:
                lease.held_until = 0.0

    async def _write_all(self) -> None:
        self._writing = True
        try:
            results = [self._results.popleft() for _ in range(min(GROUP_MAX, len(self._results)))]
            if results:
                await self._until_done(lambda: self._write_results(results), lambda: self._write_singly(results))
            if self._slow:
                taken = list(islice(self._slow, GROUP_MAX))
                for one in taken:
                    del self._slow[one]
                slow = [one for one in taken if one.lease.is_batch and not one.ended]
                await self._until_done(lambda: self._write_slow(slow))
            if self._returned:
                returned = [self._returned.popleft() for _ in range(min(GROUP_MAX, len(self._returned)))]
                await self._until_done(lambda: self._write_returned(returned))
        finally:
            self._writing = False

    async def _until_done(
        self, write: Callable[[], Awaitable[None]], otherwise: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Retry until it is written. What can never be written is given to `otherwise`, or left until its lease expires."""
        failures = 0
        while True:
            try:
                await write()
                return
            except Exception as error:
                failures += 1
                log.warning("results_not_recorded", failures=failures, exc_info=True)
                if not is_transient(error):
                    break
            await asyncio.sleep(retry_delay_seconds(failures, first=BACKOFF_SECONDS, longest=BACKOFF_SECONDS_MAX))
        if otherwise is not None:
            await otherwise()

    async def _write_results(self, results: Sequence[AttemptResult]) -> None:
        of_batches = [result for result in results if result.leased.lease.is_batch]
        if len(of_batches) == len(results) and not any(result.decision.disables_endpoint for result in results):
            # The common case is one statement.
            ours = await deliveries.record_first_attempts(self.autocommit, of_batches)
            kept = [result for result in of_batches if result.leased.lease.token in ours]
        else:
            kept = await self._write_all_kinds(of_batches, [one for one in results if not one.leased.lease.is_batch])
        self.stale += len(results) - len(kept)
        self._count_down(result.leased for result in of_batches)
        self._recorded(kept)

    async def _write_all_kinds(
        self, of_batches: Sequence[AttemptResult], leased: Sequence[AttemptResult]
    ) -> list[AttemptResult]:
        """Record both kinds of results; return those whose lease was still held."""
        kept: list[AttemptResult] = []
        async with self._database.transaction() as session:
            if leased:
                kept += await _record_leased(session, leased)
            if of_batches:
                ours = await deliveries.record_first_attempts(session, of_batches)
                kept += [result for result in of_batches if result.leased.lease.token in ours]
            gone = {result.leased.endpoint_id for result in kept if result.decision.disables_endpoint}
            if gone:
                named = [from_uuid("ep", endpoint_id) for endpoint_id in gone]
                await endpoints.disable_automatically(session, named, endpoints.GONE, datetime.now(UTC))
        return kept

    async def _write_singly(self, results: Sequence[AttemptResult]) -> None:
        """Write each result by itself, so that one that cannot be written does not block the others.

        It is attempted again after its lease.
        """
        for result in results:
            try:
                await self._write_results([result])
            except Exception:
                log.exception(
                    "result_lost", event_id=str(result.leased.event.id), endpoint_id=str(result.leased.endpoint_id)
                )
                # Its batch lease is not renewed any more, so it expires and is released.
                self.batch_leases.pop(result.leased.lease.token, None)

    async def _write_slow(self, slow: Sequence[LeasedDelivery]) -> None:
        if not slow:
            return
        token, held_until = new_token(), time.monotonic() + self._lease_seconds
        async with self._database.transaction() as session:
            ours = await queue.move_to_queue(session, slow, token=token, lease_seconds=self._lease_seconds)
        self._count_down(slow)
        for one in slow:
            if (one.event.id, one.endpoint_id) in ours:
                one.lease = Lease(token, held_until)
            else:
                one.lease = Lease(one.lease.token, 0.0)

    async def _write_returned(self, returned: Sequence[LeasedDelivery]) -> None:
        of_batches = [one for one in returned if one.lease.is_batch]
        async with self._database.transaction() as session:
            if of_batches:
                await queue.move_to_queue(session, of_batches, token=None, lease_seconds=0.0)
            await queue.release(session, [one for one in returned if not one.lease.is_batch])
        self._count_down(of_batches)

    def _count_down(self, leaving: Iterable[LeasedDelivery]) -> None:
        for one in leaving:
            one.lease.unrecorded -= 1
            if one.lease.unrecorded <= 0:
                self.batch_leases.pop(one.lease.token, None)


async def _record_leased(session: AsyncSession, results: Sequence[AttemptResult]) -> list[AttemptResult]:
    ended = {
        (result.leased.endpoint_id, result.leased.subject)
        for result in results
        if result.leased.subject is not None and result.decision.retry_seconds is None
    }
    if ended:
        await queue.lock_job_order(session, {endpoint_id for endpoint_id, _ in ended})
    ours = await deliveries.record_leased_attempts(session, results)
    await queue.unblock(session, ended)
    return [result for result in results if result.leased.key in ours]
