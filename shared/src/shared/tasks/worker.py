"""The worker of a process: claims due tasks of its service, attempts them, and records them.

Any number of workers share the tasks of a database. Each worker renews the leases of its tasks. When a worker has died its leases end,
and others claim its tasks. A worker that lost a lease may go on with its attempt, but cannot record it.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from shared.chassis.parts import Wakeup, periodically
from shared.chassis.retry_delay import retry_delay_seconds
from shared.errors import Unavailable
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.postgres.driver_connection import driver_reading
from shared.postgres.transient_errors import is_transient
from shared.tasks import store
from shared.tasks.kinds import Attempted, LeaseLost, Task, TaskKind

LEASE_SECONDS = 10.0
"""Time after which the tasks of a worker that died are claimed by another."""
RENEW_SECONDS = 3.0
POLL_SECONDS = 0.5
"""Longest sleep: another process may schedule an earlier task."""
CONTENTION_SECONDS = 0.02
"""Wait when other workers have locked all due tasks."""
SET_ASIDE_COUNT_SECONDS = 15.0
RECORD_TRIES_MAX = 8
RECORD_DELAY_SECONDS_MIN = 0.05
RECORD_DELAY_SECONDS_MAX = 2.0
STOP_SECONDS = 3.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Claimed:
    """A task that this worker holds."""

    kind: TaskKind
    task: Task
    since: float
    """Monotonic."""
    attempt: "asyncio.Task[None] | None" = None
    outcome: Any = None


@dataclass(slots=True)
class _Recorder:
    """The attempted tasks of one kind that wait to be recorded, many in one transaction."""

    waiting: list[_Claimed] = field(default_factory=list)
    wakeup: Wakeup = field(default_factory=Wakeup)


class TaskWorker:
    """Works on the tasks of these kinds, together with the workers of other processes. Tasks of other kinds are left alone."""

    def __init__(self, database: Database, kinds: Sequence[TaskKind], metrics: Metrics):
        self._database = database
        self._kinds = {kind.name: kind for kind in kinds}
        self._wakeup = Wakeup()
        self._claimed: dict[UUID, _Claimed] = {}
        self._recorders = {kind.name: _Recorder() for kind in kinds}
        self._lateness = metrics.histogram(
            "waybill_task_lateness_seconds", "From the instant at which a task was due to its record.", ("kind",)
        )
        self._overdue = metrics.gauge(
            "waybill_task_overdue_seconds", "For how long the first task has been claimable; 0 when none is.", ("kind",)
        )
        self._attempts = metrics.counter(
            "waybill_task_attempts_total",
            "Attempts of tasks: recorded, failed, lost (to another worker).",
            ("kind", "result"),
        )
        self._set_aside = metrics.gauge(
            "waybill_tasks_set_aside", "Tasks whose attempts have all failed: see the command `tasks list`.", ("kind",)
        )
        database.after_commit.append(self._wake_after_scheduling)

    async def run(self) -> None:
        """Work until cancelled. Tasks in progress are then given back, and attempted again."""
        loops = [
            periodically(self._claim_due, POLL_SECONDS, wakeup=self._wakeup, failure_event="tasks_not_claimed"),
            periodically(self._renew, RENEW_SECONDS, failure_event="task_leases_not_renewed"),
            periodically(self._count_set_aside, SET_ASIDE_COUNT_SECONDS, failure_event="set_aside_tasks_not_counted"),
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for loop in loops:
                    group.create_task(loop())
                for kind in self._kinds.values():
                    for _ in range(kind.recorders):
                        group.create_task(self._record_waiting(kind))
        finally:
            await self._give_back()

    async def _claim_due(self) -> float:
        """Claim what is due, as far as there is room; returns the seconds to sleep."""
        async with driver_reading(self._database) as driver:
            seconds = await store.seconds_to_next(driver, self._kinds)
        for name in self._kinds:
            self._overdue.labels(name).set(max(0.0, -seconds.get(name, 0.0)))
        rooms = {name: self._room(name) for name in seconds}
        due = {name: room for name, room in rooms.items() if room > 0 and seconds[name] <= 0}
        if due:
            async with self._database.transaction() as session:
                tasks = await store.claim(session, due, LEASE_SECONDS)
            for task in tasks:
                self._begin(self._kinds[task.kind], task)
            return 0.0 if tasks else CONTENTION_SECONDS
        return min([POLL_SECONDS, *(seconds[name] for name, room in rooms.items() if room > 0)])

    def _room(self, kind: str) -> int:
        return self._kinds[kind].at_once - sum(claimed.kind.name == kind for claimed in self._claimed.values())

    def _begin(self, kind: TaskKind, task: Task) -> None:
        former = self._claimed.get(task.id)
        if former is not None and former.attempt is not None:
            # That attempt lost its lease; this worker has claimed the task again.
            former.attempt.cancel()
        claimed = self._claimed[task.id] = _Claimed(kind, task, time.monotonic())
        if task.attempt > kind.attempts_max:
            # Every attempt ended because its process died.
            claimed.attempt = asyncio.create_task(self._fail(claimed, "no attempt came to an end"))
        elif kind.attempt is None:
            self._hand_over(claimed, None)
        else:
            claimed.attempt = asyncio.create_task(self._attempt(claimed))

    async def _attempt(self, claimed: _Claimed) -> None:
        kind, task = claimed.kind, claimed.task
        assert kind.attempt is not None
        try:
            async with asyncio.timeout(kind.attempt_seconds):
                outcome = await kind.attempt(task)
        except (LeaseLost, asyncio.CancelledError):
            # Also cancelled: it has lost its lease, or the worker stops.
            self._lose(claimed)
        except Exception as error:
            # Whatever it was: it is logged and stored, and the attempt is repeated.
            await self._fail(claimed, error)
        else:
            self._hand_over(claimed, outcome)

    def _hand_over(self, claimed: _Claimed, outcome: Any) -> None:
        claimed.outcome = outcome
        recorder = self._recorders[claimed.kind.name]
        recorder.waiting.append(claimed)
        recorder.wakeup.set()

    async def _record_waiting(self, kind: TaskKind) -> None:
        recorder = self._recorders[kind.name]
        while True:
            recorder.wakeup.clear()
            while recorder.waiting:
                batch, recorder.waiting = recorder.waiting[: kind.batch_size], recorder.waiting[kind.batch_size :]
                await self._record(kind, batch)
            await recorder.wakeup.wait()

    async def _record(self, kind: TaskKind, batch: Sequence[_Claimed]) -> None:
        """Record these tasks together, or each by itself when that fails."""
        try:
            await self._record_together(kind, batch)
        except Exception as error:
            if is_transient(error):
                # The leases end by themselves; then the tasks are attempted again.
                log.warning("tasks_not_recorded", kind=kind.name, tasks=len(batch), error=repr(error))
                self._end(batch, "failed")
            elif len(batch) > 1:
                for claimed in batch:
                    await self._record(kind, [claimed])
            elif isinstance(error, LeaseLost):
                self._lose(batch[0])
            else:
                await self._fail(batch[0], error)

    async def _record_together(self, kind: TaskKind, batch: Sequence[_Claimed]) -> None:
        for tries in range(1, RECORD_TRIES_MAX + 1):
            try:
                held = await self._record_once(kind, batch)
                break
            except Exception as error:
                # What was attempted stays done while the database is away: better late than attempted again.
                if not is_transient(error) or tries == RECORD_TRIES_MAX:
                    raise
                delay = retry_delay_seconds(tries, first=RECORD_DELAY_SECONDS_MIN, longest=RECORD_DELAY_SECONDS_MAX)
                await asyncio.sleep(delay)
        lateness, now = self._lateness.labels(kind.name), time.monotonic()
        recorded = []
        for claimed in batch:
            if claimed.task.id in held:
                waited = (claimed.task.claimed_at - claimed.task.due_at).total_seconds()
                lateness.observe(max(0.0, waited + now - claimed.since))
                recorded.append(claimed)
            else:
                self._lose(claimed)
        self._end(recorded, "recorded")

    async def _record_once(self, kind: TaskKind, batch: Sequence[_Claimed]) -> set[UUID]:
        """Record those of these tasks whose leases are still held; returns their ids."""
        async with self._database.transaction() as session:
            held = await store.held(session, [claimed.task for claimed in batch])
            attempted = [Attempted(one.task, one.outcome) for one in batch if one.task.id in held]
            if attempted:
                again = await kind.record(session, attempted) or {}
                await session.flush()
                await store.conclude(session, [one.task for one in attempted], again)
        return held

    async def _fail(self, claimed: _Claimed, error: Exception | str) -> None:
        """Store that an attempt, or its record, has failed."""
        kind, task = claimed.kind, claimed.task
        reason = (error if isinstance(error, str) else repr(error))[: store.REASON_LENGTH_MAX]
        expected = isinstance(error, str | Unavailable) or is_transient(error)
        is_last = task.attempt >= kind.attempts_max
        log.warning(
            "task_set_aside" if is_last else "task_failed",
            kind=kind.name,
            key=task.key,
            attempt=task.attempt,
            error=reason,
            exc_info=None if expected else error,
        )
        try:
            async with self._database.transaction() as session:
                if is_last:
                    if kind.give_up is not None:
                        await kind.give_up(session, task, reason)
                        await session.flush()
                    await store.set_aside(session, task, reason)
                else:
                    delay = retry_delay_seconds(
                        task.attempt, first=kind.delay_seconds_min, longest=kind.delay_seconds_max
                    )
                    await store.retry_later(session, task, reason, delay)
        except LeaseLost:
            self._lose(claimed)
        except Exception:
            # The lease ends by itself; then the task is attempted again.
            log.warning("task_failure_not_stored", kind=kind.name, key=task.key, exc_info=True)
            self._end([claimed], "failed")
        else:
            self._end([claimed], "failed")

    def _lose(self, claimed: _Claimed) -> None:
        log.info("task_lease_lost", kind=claimed.kind.name, key=claimed.task.key)
        self._end([claimed], "lost")

    def _end(self, ended: Sequence[_Claimed], result: str) -> None:
        """Let go of these tasks of one kind."""
        if not ended:
            return
        for claimed in ended:
            # After a lost lease this worker may hold the same task again.
            if self._claimed.get(claimed.task.id) is claimed:
                del self._claimed[claimed.task.id]
        self._attempts.labels(ended[0].kind.name, result).inc(len(ended))
        self._wakeup.set()

    async def _renew(self) -> None:
        """Renew the leases; attempts whose lease was lost are cancelled."""
        claimed = list(self._claimed.values())
        if not claimed:
            return
        async with self._database.transaction() as session:
            held = await store.renew(session, [one.task for one in claimed], LEASE_SECONDS)
        for one in claimed:
            if one.task.id not in held and self._claimed.get(one.task.id) is one and one.attempt is not None:
                one.attempt.cancel()

    async def _count_set_aside(self) -> None:
        async with self._database.reading() as session:
            counts = await store.count_set_aside(session)
        for name in self._kinds:
            self._set_aside.labels(name).set(counts.get(name, 0))

    async def _give_back(self) -> None:
        claimed, self._claimed = list(self._claimed.values()), {}
        attempts = [one.attempt for one in claimed if one.attempt is not None]
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
        if claimed:
            # Otherwise the tasks would be free only after their leases have ended.
            with suppress(Exception):
                async with asyncio.timeout(STOP_SECONDS), self._database.transaction() as session:
                    await store.release(session, [one.task for one in claimed])

    def _wake_after_scheduling(self, session: AsyncSession) -> None:
        """Called after each commit of this process."""
        if store.take_scheduled(session):
            self._wakeup.set()
