"""The dispatcher: takes first attempts from the fan-out and due deliveries from the queue, and has them attempted and recorded.

If it is killed nothing is lost: its deliveries are due again when their leases expire. If it is stopped in order it finishes the attempts
in flight and releases the other deliveries at once. An attempt has no task of its own: the sender calls back, and one result writer
records.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog

from shared.chassis.parts import Wakeup, periodically
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from webhooks import endpoints, queue
from webhooks.deliveries import AttemptResult, Decision, decide, retry_after_seconds
from webhooks.dispatch.metrics import DispatchMetrics
from webhooks.dispatch.prestore import NOT_STORED, PrestoreDispatch
from webhooks.dispatch.process import allow_files, collect_garbage_less_often
from webhooks.dispatch.result_writer import ResultWriter
from webhooks.dispatch.scheduler import EndpointQueue, Scheduler
from webhooks.dispatch.throttle import EndpointThrottles, ThrottleLimits, result_class_of
from webhooks.endpoints import DisablePolicy, EndpointCache, FailureStreaks
from webhooks.events import FanOutResult
from webhooks.http_client import IDLE_MAX, Outcome, Sender
from webhooks.queue import FIRST_ENDPOINT, LeasedDelivery

SLOTS_PER_RETRY_SLOT = 4
"""One slot in this many is reserved for retries."""
RETRY_ENDPOINTS = 8
"""One retry slot in this many is the most that one endpoint has."""
CLAIM_MAX = 500
CLAIM_GAP_SECONDS = 0.005
CLAIM_REST_SECONDS = 0.025
RENEWALS_PER_LEASE = 3
CHECK_SECONDS = 1.0
SLOW_SECONDS = 2.0
"""A first attempt that takes longer moves to the queue, where its delivery is shown as pending."""
WAITING_SECONDS_MAX = 5.0
"""Deliveries that have waited longer in memory go back to the queue."""
PRESSURE_MAX = 1500
"""With more deliveries waiting the fan-out pauses before its next batch, `PRESSURE_SECONDS_MAX` at most."""
PRESSURE_STEP_SECONDS = 0.02
PRESSURE_SECONDS_MAX = 2.0
HEALTH_SECONDS = 5.0
REPORT_SECONDS = 5.0
STOP_SECONDS = 7.0
RECORD_SECONDS = 2.0

_DELIVERED = Decision()

log = structlog.get_logger()


class Dispatcher:
    """Attempts deliveries in this process."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        sender: Sender,
        endpoint_cache: EndpointCache,
        *,
        schedule: Sequence[float],
        in_flight_max: int,
        endpoint_in_flight_max: int,
        lease_seconds: float,
        poll_seconds: float,
        disable_policy: DisablePolicy,
        limits: ThrottleLimits,
        announce: Callable[[Collection[tuple[UUID, bool, UUID]]], None] = lambda _: None,
        health_seconds: float = HEALTH_SECONDS,
    ):
        self._database = database
        self._sender = sender
        self._endpoint_cache = endpoint_cache
        self._schedule = schedule
        self._in_flight_max = in_flight_max
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._disable_policy = disable_policy
        self._announce = announce
        self._health_seconds = health_seconds
        self._streaks = FailureStreaks()
        self._result_writer = ResultWriter(database, lease_seconds=lease_seconds, recorded=self._on_recorded)
        self._throttles = EndpointThrottles(limits)
        retry_slots = max(1, in_flight_max // SLOTS_PER_RETRY_SLOT)
        self._first = Scheduler(
            slots=in_flight_max - retry_slots,
            endpoint_slots=endpoint_in_flight_max,
            throttles=self._throttles,
            begin=self._begin,
        )
        self._retries = Scheduler(
            slots=retry_slots,
            endpoint_slots=min(endpoint_in_flight_max, max(1, retry_slots // RETRY_ENDPOINTS)),
            throttles=self._throttles,
            begin=self._begin,
        )
        for scheduler in self._schedulers:
            scheduler.is_blocked = lambda: self._result_writer.is_behind
        self.prestore = PrestoreDispatch(self._first, endpoint_cache)
        self._wakers = {scheduler: Wakeup() for scheduler in self._schedulers}
        self._starved: set[Scheduler] = set()
        """Schedulers that may have left due deliveries in the queue because they had too few free slots."""
        self._filling: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        endpoint_cache.on_change.append(self._on_change)
        self._metrics = DispatchMetrics(
            metrics, dict(zip(("first", "retry"), self._schedulers, strict=True)), self._throttles, self._result_writer
        )

    # -- for the fan-out -------------------------------------------------------------------------------------------------------

    def room(self, endpoint_id: UUID) -> int:
        """How many more first attempts to this endpoint can be accepted."""
        return self._first.room(endpoint_id)

    async def make_room(self) -> None:
        """Wait until few enough deliveries wait for a slot, so that another batch may be taken."""
        until = time.monotonic() + PRESSURE_SECONDS_MAX
        while self._first.waiting_count > PRESSURE_MAX and self._first.pressure() > PRESSURE_MAX:
            if time.monotonic() > until:
                return
            await asyncio.sleep(PRESSURE_STEP_SECONDS)

    def accept(self, found: FanOutResult) -> None:
        """Make the first attempts of a batch, whose lease is committed."""
        if found.leased or found.begun:
            self._result_writer.batch_leases[found.lease.token] = found.lease
        for result in self.prestore.stored(found.event_ids, found.begun, found.lease):
            self._result_writer.add(result)
        if found.leased:
            self._take_on(self._first, found.leased)
        if found.queued:
            self.wake()

    def wake(self) -> None:
        """Look for due deliveries at once: something was added to the queue."""
        for waker in self._wakers.values():
            waker.set()

    # -- the part --------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled; then finish within `STOP_SECONDS` + `RECORD_SECONDS`."""
        allow_files(self._in_flight_max + IDLE_MAX)
        collect_garbage_less_often()
        recording = asyncio.create_task(self._result_writer.run(), name="result-writer")
        for scheduler in self._schedulers:
            scheduler.open()
        step_seconds = self._lease_seconds / RENEWALS_PER_LEASE
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._claim(self._first, retry=False))
                group.create_task(self._claim(self._retries, retry=True))
                for seconds, work, failure_event in (
                    (self._poll_seconds, self._check_queue, "queue_not_read"),
                    (step_seconds, self._renew, "leases_not_renewed"),
                    (min(CHECK_SECONDS, step_seconds), self._check, "held_deliveries_not_checked"),
                    (min(CHECK_SECONDS, step_seconds), self._release_expired_batches, "expired_batches_not_released"),
                    (self._health_seconds, self._write_health, "endpoint_health_not_written"),
                    (REPORT_SECONDS, self._report, "dispatch_metrics_not_read"),
                ):
                    group.create_task(periodically(work, seconds, failure_event=failure_event)())
        finally:
            try:
                await self._stop()
            finally:
                # Also when that fails or is cancelled: a writer that nobody stops keeps its connection.
                recording.cancel()
                await asyncio.wait({recording})
                await self._result_writer.close()

    @property
    def _schedulers(self) -> tuple[Scheduler, Scheduler]:
        return self._first, self._retries

    def _take_on(self, scheduler: Scheduler, leased: Sequence[LeasedDelivery]) -> None:
        self._result_writer.release(scheduler.accept(leased, self._endpoint_cache.target))
        self._fill_soon()

    def _begin(self, leased: LeasedDelivery, endpoint_queue: EndpointQueue) -> None:
        self._sender.send(endpoint_queue.target, leased.event.message, partial(self._ended, leased, endpoint_queue))

    def _ended(self, leased: LeasedDelivery, endpoint_queue: EndpointQueue, outcome: Outcome) -> None:
        """Handle the outcome of an attempt: decide, pass the result to the result writer, free the slot."""
        now = time.monotonic()
        throttle = endpoint_queue.throttle
        if outcome.cause is None:
            decision = _DELIVERED
            was_open = throttle.is_open
            throttle.ended(now, "accepted")
        else:
            decision = self._decide(leased, endpoint_queue, outcome)
            was_open = throttle.is_open
            asked_seconds = retry_after_seconds(outcome.retry_after, datetime.now(UTC))
            throttle.ended(
                now,
                result_class_of(outcome),
                retry_after_seconds=asked_seconds,
                recent_rate=float(max(endpoint_queue.done, endpoint_queue.done_before)),
            )
        endpoint_queue.scheduler.ended(leased, now)
        result = AttemptResult(leased, outcome, decision)
        if leased.lease.token == NOT_STORED:
            self.prestore.ended(result)
        else:
            self._result_writer.add(result)
        if throttle.is_held(now):
            for scheduler in self._schedulers:
                self._result_writer.release(scheduler.withdraw([leased.endpoint_id]))
        elif was_open:
            for scheduler in self._schedulers:
                scheduler.nudge(leased.endpoint_id)
        self._fill_soon()

    def _decide(self, leased: LeasedDelivery, endpoint_queue: EndpointQueue, outcome: Outcome) -> Decision:
        schedule = endpoint_queue.target.retry_schedule
        return decide(
            outcome,
            attempt=leased.attempts_made - leased.attempts_before + 1,
            schedule=self._schedule if schedule is None else schedule,
            now=datetime.now(UTC),
            chance=random.random(),  # noqa: S311 - jitter
        )

    # -- slots -----------------------------------------------------------------------------------------------------------------

    def _fill_soon(self) -> None:
        """Fill free slots in the next turn of the event loop: once for all outcomes of this turn, and outside the sender's callback."""
        if self._filling is None:
            self._filling = asyncio.get_running_loop().call_soon(self._fill)

    def _fill(self) -> None:
        self._filling = None
        instants = [instant for scheduler in self._schedulers if (instant := scheduler.fill()) is not None]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if instants:
            delay = min(instants) - time.monotonic()
            if delay <= 0:
                self._fill_soon()
            else:
                self._timer = asyncio.get_running_loop().call_later(max(0.001, delay), self._fill)
        for scheduler in self._starved:
            if scheduler.free:
                self._wakers[scheduler].set()

    def _on_recorded(self, results: Sequence[AttemptResult]) -> None:
        self._metrics.count(results)
        self._announce(
            {(one.leased.event.tenant_id, one.leased.event.livemode, one.leased.endpoint_id) for one in results}
        )
        for result in results:
            self._streaks.note(result.leased.endpoint_id, succeeded=result.outcome.cause is None)
        if any(result.leased.subject is not None for result in results):
            self.wake()
        self._fill_soon()

    def _on_change(self, endpoint_ids: Collection[UUID]) -> None:
        for scheduler in self._schedulers:
            self._result_writer.release(scheduler.retarget(endpoint_ids, self._endpoint_cache.target))
        for endpoint_id in endpoint_ids:
            if self._endpoint_cache.target(endpoint_id) is None:
                self._throttles.forget(endpoint_id)

    # -- the queue -------------------------------------------------------------------------------------------------------------

    async def _claim(self, scheduler: Scheduler, *, retry: bool) -> None:
        """Claim due deliveries for a scheduler until cancelled: again at once while there are more, else after `wake` or `_check_queue`."""
        after = FIRST_ENDPOINT
        waker = self._wakers[scheduler]
        while True:
            found = 0
            waker.clear()
            try:
                found, after = await self._claim_once(scheduler, retry=retry, after=after)
            except Exception:
                log.warning("claim_failed", retry=retry, exc_info=True)
            if not found and after == FIRST_ENDPOINT:
                await waker.wait()
            await asyncio.sleep(CLAIM_GAP_SECONDS if found else CLAIM_REST_SECONDS)

    async def _check_queue(self) -> None:
        """Wake the schedulers for which there are rows in the queue."""
        for scheduler, holds in zip(self._schedulers, await queue.peek(self._result_writer.autocommit), strict=True):
            if holds:
                self._wakers[scheduler].set()

    async def _claim_once(self, scheduler: Scheduler, *, retry: bool, after: UUID) -> tuple[int, UUID]:
        """Claim once. Returns how many deliveries were claimed, and the endpoint after which to claim next."""
        rows_max = min(scheduler.free, CLAIM_MAX)
        self._starved.add(scheduler)
        if rows_max == 0:
            return 0, FIRST_ENDPOINT
        async with self._database.transaction() as session:
            leased, after, skipped = await queue.claim(
                session,
                self._endpoint_cache,
                retry=retry,
                after=after,
                full=scheduler.full(),
                each=max(1, scheduler.endpoint_slots // 2),
                rows_max=rows_max,
                lease_seconds=self._lease_seconds,
            )
        if not skipped:
            self._starved.discard(scheduler)
        self._take_on(scheduler, leased)
        return len(leased), after

    # -- maintenance -----------------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """Renew the leases of deliveries that are held for longer than one step."""
        await self._result_writer.renew()
        held_until = time.monotonic() + self._lease_seconds
        step_seconds = self._lease_seconds / RENEWALS_PER_LEASE
        held = [
            one
            for scheduler in self._schedulers
            for one in (*scheduler.under_way, *scheduler.waiting)
            if not one.lease.is_batch
        ]
        aging = [one for one in held if one.lease.held_until < held_until - step_seconds / 2]
        for start in range(0, len(aging), CLAIM_MAX):
            some = aging[start : start + CLAIM_MAX]
            async with self._database.transaction() as session:
                ours = await queue.renew(session, some, self._lease_seconds)
            for one in some:
                # With an expired lease a waiting delivery does not begin, and the result of an attempt in flight changes nothing.
                one.lease.held_until = held_until if one.key in ours else 0.0

    async def _check(self) -> None:
        """Move slow first attempts to the queue, release deliveries that have waited for long, and measure rates."""
        now = time.monotonic()
        slow_seconds = min(SLOW_SECONDS, self._lease_seconds / RENEWALS_PER_LEASE)
        for scheduler in self._schedulers:
            self._result_writer.move_to_queue(
                [
                    one
                    for one in scheduler.under_way
                    if one.lease.is_batch and one.lease.token != NOT_STORED and one.since < now - slow_seconds
                ]
            )
            self._result_writer.release(scheduler.withdraw_old(now - WAITING_SECONDS_MAX))
            scheduler.tick()
        self.prestore.forget_old()
        self._throttles.keep_only({one for scheduler in self._schedulers for one in scheduler.endpoint_ids}, now)

    async def _release_expired_batches(self) -> None:
        async with self._database.transaction() as session:
            found = await queue.release_expired_batches(session, mine=self._result_writer.batch_leases)
        if found:
            log.warning("expired_batches_released", batches=found)
            self.wake()

    async def _write_health(self) -> None:
        streaks = self._streaks.take()
        if streaks:
            try:
                async with self._database.transaction() as session:
                    await endpoints.write_streaks(
                        session, streaks, self._disable_policy, self._throttles.pauses(time.monotonic())
                    )
            except Exception:
                self._streaks.put_back(streaks)
                raise

    async def _report(self) -> None:
        async with self._database.reading() as session:
            await self._metrics.measure_queue(session)

    async def _stop(self) -> None:
        """Release waiting deliveries, let attempts in flight end, abort and release the rest."""
        for scheduler in self._schedulers:
            self._result_writer.release(scheduler.close())
        # No `asyncio.timeout`: in a task that was cancelled Python 3.11.2 lets it raise another cancellation.
        ends_at = time.monotonic() + STOP_SECONDS
        while any(one.in_flight for one in self._schedulers) and time.monotonic() < ends_at:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(CLAIM_GAP_SECONDS)
        aborted = [one for scheduler in self._schedulers for one in scheduler.under_way]
        await self._sender.close()
        # An event that is not stored yet is still in Kafka.
        self._result_writer.release([one for one in aborted if not one.ended and one.lease.token != NOT_STORED])
        # A delivery whose result is not written by then is due when its lease expires.
        await self._result_writer.drain(RECORD_SECONDS)
