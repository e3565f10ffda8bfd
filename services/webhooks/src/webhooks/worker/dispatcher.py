"""The dispatcher: takes leases from the fan-out and from the queue, has them attempted, keeps them alive, gives back what it cannot do.

Killed at any line it loses nothing: what it held is due again when the lease ends. Stopped in order it finishes what is under way and
gives the rest back at once.
"""

import asyncio
import random
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import text

from shared.database import Database
from shared.telemetry import Metrics
from webhooks import attempts, targets
from webhooks.attempts import FIRST_ENDPOINT, Leased, Result
from webhooks.domain.retries import Decision, decide
from webhooks.targets import Targets
from webhooks.worker.lanes import Lane
from webhooks.worker.recorder import Recorder
from webhooks.worker.sender import Sender

RETRY_PLACES = 4
"""One place in so many is kept for retries."""
RETRY_ENDPOINTS = 8
"""So many endpoints at least share the retries' places."""
CLAIM_MAX = 500
CLAIM_GAP_SECONDS = 0.005
CLAIM_REST_SECONDS = 0.025
RENEWALS_PER_LEASE = 3
CHECK_SECONDS = 1.0
REPORT_SECONDS = 5.0
REPORTED_ROWS_MAX = 100_000
STOP_SECONDS = 7.0
RECORD_SECONDS = 2.0
FILES_BESIDES = 512

_DEPTH = text("SELECT count(*) FROM (SELECT FROM delivery_due LIMIT :rows_max) AS queued")

log = structlog.get_logger()


class Dispatcher:
    """Delivers what is due, in this process."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        sender: Sender,
        known: Targets,
        *,
        schedule: Sequence[float],
        in_flight_max: int,
        endpoint_in_flight_max: int,
        lease_seconds: float,
        poll_seconds: float,
    ):
        self._database = database
        self._sender = sender
        self._targets = known
        self._schedule = schedule
        self._in_flight_max = in_flight_max
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._recorder = Recorder(database)
        retry_places = max(1, in_flight_max // RETRY_PLACES)
        self._first = Lane(
            places=in_flight_max - retry_places, endpoint_places=endpoint_in_flight_max, attempt=self._attempt
        )
        self._retries = Lane(
            places=retry_places,
            endpoint_places=min(endpoint_in_flight_max, max(1, retry_places // RETRY_ENDPOINTS)),
            attempt=self._attempt,
        )
        self._measure(metrics)

    def room(self, endpoint_id: UUID) -> int:
        """How many first attempts for this endpoint can be taken on at once."""
        return self._first.room(endpoint_id)

    def accept(self, leased: list[Leased]) -> None:
        """Make these first attempts; their leases are real (committed)."""
        self._first.accept(leased)

    async def run(self) -> None:
        """Deliver until cancelled; then finish within `STOP_SECONDS` + `RECORD_SECONDS`."""
        _allow_files(self._in_flight_max + FILES_BESIDES)
        recording = asyncio.create_task(self._recorder.run(), name="recorder")
        for lane in self._lanes:
            lane.open()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._claim(self._first, retry=False))
                group.create_task(self._claim(self._retries, retry=True))
                group.create_task(self._every(self._lease_seconds / RENEWALS_PER_LEASE, self._renew))
                group.create_task(self._every(CHECK_SECONDS, self._check_waiting))
                group.create_task(self._every(REPORT_SECONDS, self._report))
        finally:
            await self._stop()
            recording.cancel()
            await asyncio.wait({recording})

    @property
    def _lanes(self) -> tuple[Lane, Lane]:
        return self._first, self._retries

    async def _attempt(self, leased: Leased) -> bool:
        """Make one attempt and have it recorded; whether the receiver answered in time."""
        outcome = await self._sender.send(leased.target, leased.message)
        now = datetime.now(UTC)
        decision = decide(
            outcome,
            attempt=leased.attempts_made + 1,
            schedule=self._schedule,
            now=now,
            chance=random.random(),  # noqa: S311 - jitter
        )
        self._count(leased, decision, outcome.cause, now)
        await self._recorder.record(Result(leased, outcome, decision))
        return outcome.cause != "timeout"

    async def _claim(self, lane: Lane, *, retry: bool) -> None:
        """Keep a lane filled from the queue: at once while there is more, else every `poll_seconds`."""
        after = FIRST_ENDPOINT
        while True:
            lane.freed.clear()
            full = lane.full()
            found = 0
            try:
                found, after = await self._claim_once(lane, retry=retry, after=after, full=full)
            except Exception:
                log.warning("claim_failed", retry=retry, exc_info=True)
            if lane.free == 0 or (full and not found):
                # There may be more, but no place for it.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await lane.freed.wait()
            elif not found and after == FIRST_ENDPOINT:
                await asyncio.sleep(self._poll_seconds)
            await asyncio.sleep(CLAIM_GAP_SECONDS if found else CLAIM_REST_SECONDS)

    async def _claim_once(self, lane: Lane, *, retry: bool, after: UUID, full: list[UUID]) -> tuple[int, UUID]:
        """How many were claimed, and the endpoint after which to look next."""
        rows_max = min(lane.free, CLAIM_MAX)
        if rows_max == 0:
            return 0, after
        async with self._database.transaction() as session:
            leased, after = await attempts.claim(
                session,
                self._targets,
                retry=retry,
                after=after,
                full=full,
                each=max(1, lane.endpoint_places // 2),
                rows_max=rows_max,
                lease_seconds=self._lease_seconds,
            )
        lane.accept(leased)
        return len(leased), after

    async def _renew(self) -> None:
        """Keep alive the leases of everything that is held for longer than one step."""
        held_until = time.monotonic() + self._lease_seconds
        step_seconds = self._lease_seconds / RENEWALS_PER_LEASE
        for lane in self._lanes:
            aging = [leased for leased in lane.held if leased.held_until < held_until - step_seconds / 2]
            for start in range(0, len(aging), CLAIM_MAX):
                some = aging[start : start + CLAIM_MAX]
                async with self._database.transaction() as session:
                    ours = await attempts.renew(session, some, self._lease_seconds)
                for leased in some:
                    if leased.delivery_id in ours:
                        leased.held_until = held_until
                lane.begin_nothing_of({leased.delivery_id for leased in some} - ours)

    async def _check_waiting(self) -> None:
        """Give back what waits for endpoints that were changed, disabled or deleted: the next claim sees them as they are."""
        for lane in self._lanes:
            waiting = {leased.target.endpoint_id: leased.target.version for leased in lane.waiting}
            if not waiting:
                continue
            async with self._database.transaction() as session:
                current = await targets.current_versions(session, waiting)
                changed = [one for one, version in waiting.items() if current.get(one) != version]
                await attempts.release(session, lane.withdraw(changed))

    async def _report(self) -> None:
        async with self._database.reading() as session:
            self._depth.set((await session.execute(_DEPTH, {"rows_max": REPORTED_ROWS_MAX})).scalar_one())

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception:
                log.warning("dispatcher_step_failed", step=getattr(work, "__name__", "?"), exc_info=True)

    async def _stop(self) -> None:
        """Give back what waits, let what is under way end, break off and give back the rest."""
        unstarted = [leased for lane in self._lanes for leased in lane.close()]
        await self._give_back(unstarted)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                for lane in self._lanes:
                    await lane.idle()
        broken_off = [leased for lane in self._lanes for leased in lane.held]
        for lane in self._lanes:
            lane.cancel()
            await lane.idle()
        await self._give_back(broken_off)
        await self._sender.close()

    async def _give_back(self, held: Sequence[Leased]) -> None:
        try:
            async with asyncio.timeout(RECORD_SECONDS), self._database.transaction() as session:
                await attempts.release(session, held)
        except Exception:
            # Their leases end by themselves.
            log.warning("leases_not_given_back", deliveries=len(held), exc_info=True)

    def _measure(self, metrics: Metrics) -> None:
        self._attempts = metrics.counter(
            "waybill_webhook_attempts", "Attempts by result: delivered, or the cause of the failure.", ("result",)
        )
        self._given_up = metrics.counter("waybill_webhook_given_up", "Deliveries given up, by reason.", ("failure",))
        self._delivery_seconds = metrics.histogram(
            "waybill_webhook_delivery_seconds", "Seconds from the event to the receiver's acceptance."
        )
        self._depth = metrics.gauge("waybill_webhook_due", "Unfinished deliveries (counted up to a bound).")
        in_flight = metrics.gauge("waybill_webhook_in_flight", "Attempts under way.", ("lane",))
        in_flight.labels("first").set_function(lambda: self._first.in_flight)
        in_flight.labels("retry").set_function(lambda: self._retries.in_flight)
        stale = metrics.gauge("waybill_webhook_stale_results", "Results that came after their lease was lost, so far.")
        stale.set_function(lambda: self._recorder.stale)

    def _count(self, leased: Leased, decision: Decision, cause: str | None, now: datetime) -> None:
        self._attempts.labels(cause or "delivered").inc()
        if decision.delivered:
            self._delivery_seconds.observe(max(0.0, (now - leased.message.occurred_at).total_seconds()))
        elif decision.failure is not None:
            self._given_up.labels(decision.failure).inc()


def _allow_files(wanted: int) -> None:
    """Each attempt under way is an open file: raise this process's soft limit as far as that takes and the hard limit lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    if target < wanted:
        log.warning("few_open_files", allowed=target, wanted=wanted)
