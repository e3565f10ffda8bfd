"""Runs timers at their instant, in any number of replicas.

Between two timers a worker sleeps until the next one is due, `POLL_SECONDS` at most, because another process may set an earlier timer.
"""

from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from billing import subscriptions
from billing.subscriptions import rules
from shared.chassis.parts import Wakeup, periodically
from shared.observability.metrics import Metrics
from shared.postgres.database import Database

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
CONTENTION_SECONDS = 0.02
"""Wait when other workers have locked all due timers: they commit soon, or they die."""
TIMERS_MAX = 100
"""Timers run in one transaction: enough for many that are due together, few enough for a short transaction."""

_NOT_ASLEEP = datetime.max.replace(tzinfo=UTC)


class TimerWorker:
    """Runs the timers of a database, together with the workers of other processes."""

    def __init__(self, database: Database, metrics: Metrics):
        self._database = database
        self._woken = Wakeup()
        self._sleeps_until = _NOT_ASLEEP
        self._lateness = metrics.histogram(
            "waybill_billing_timer_lateness_seconds",
            "From the instant at which a timer was due to its commit.",
            ("kind",),
        )
        self._overdue = metrics.gauge(
            "waybill_billing_timer_overdue_seconds", "For how long the earliest timer has been due; 0 when none is."
        )
        database.after_commit.append(self._wake_for_earlier_timer)

    async def run(self) -> None:
        """Run due timers until cancelled. Raises when the database fails; the timers of that transaction stay."""
        await periodically(self._turn, POLL_SECONDS, wakeup=self._woken)()

    async def _turn(self) -> float:
        # Before the query, so that a timer that is set after it shortens the sleep.
        self._sleeps_until = _NOT_ASLEEP
        seconds = await self._run_due()
        self._sleeps_until = datetime.now(UTC) + timedelta(seconds=seconds)
        return seconds

    async def _run_due(self) -> float:
        """Run the timers that are due now, `TIMERS_MAX` at most; returns the seconds to sleep."""
        now = datetime.now(UTC)
        async with self._database.reading() as session:
            due_at = await subscriptions.next_timer_due_at(session)
        self._overdue.set(0 if due_at is None else max(0.0, (now - due_at).total_seconds()))
        if due_at is None:
            return POLL_SECONDS
        if due_at > now:
            return min((due_at - now).total_seconds(), POLL_SECONDS)
        async with self._database.transaction() as session:
            done = await subscriptions.run_due_timers(session, now, limit=TIMERS_MAX)
        self._report(done)
        return 0.0 if done else CONTENTION_SECONDS

    def _wake_for_earlier_timer(self, session: AsyncSession) -> None:
        """Called after each commit of this process: wake up if it set a timer that is due before the end of the sleep."""
        earliest = subscriptions.earliest_scheduled_timer(session)
        if earliest is not None and earliest < self._sleeps_until:
            self._woken.set()

    def _report(self, timers: list[rules.Timer]) -> None:
        now = datetime.now(UTC)
        for timer in timers:
            self._lateness.labels(timer.kind).observe(max(0.0, (now - timer.due_at).total_seconds()))
            log.info("timer_done", kind=timer.kind, tenant_id=timer.tenant_id, due_at=timer.due_at.isoformat())
