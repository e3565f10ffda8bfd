"""The clock of billing: does what is due, at its instant, in any number of replicas.

Between two timers it sleeps until the next one is due, but no longer than `POLL_SECONDS`, because another process may set an earlier one.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from billing import subscriptions
from billing.subscriptions import rules
from shared.observability.metrics import Metrics
from shared.postgres.database import Database

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
CONTENTION_SECONDS = 0.02
"""Wait when everything that is due is held by others: they are about to be done with it, or to die."""
TIMERS_MAX = 100
"""Timers in one transaction: enough for a crowd that is due at once, few enough for a short transaction."""

ALWAYS = datetime.max.replace(tzinfo=UTC)


class TimerWorker:
    """One replica's worker. Any number of them, in any number of processes, share the timers of a database."""

    def __init__(self, database: Database, metrics: Metrics):
        self._database = database
        self._written = asyncio.Event()
        self._sleeps_until = ALWAYS
        self._lateness = metrics.histogram(
            "waybill_billing_timer_lateness_seconds",
            "From the instant at which a timer was due to the commit of what it says.",
            ("kind",),
        )
        self._overdue = metrics.gauge(
            "waybill_billing_timer_overdue_seconds", "How long the longest waiting timer has been due; 0 when none is."
        )
        database.after_commit.append(self._notice)

    async def run(self) -> None:
        """Do what is due, until cancelled. Raises when the database fails; what was under way is then undone."""
        while True:
            await self._sleep(await self._turn())

    async def _turn(self) -> timedelta:
        """Do what is due now, a bounded number of timers; returns how long there is nothing to do."""
        now = datetime.now(UTC)
        # Before the look, so that whatever is written after it shortens the sleep that follows.
        self._written.clear()
        self._sleeps_until = ALWAYS
        async with self._database.reading() as session:
            due_at = await subscriptions.next_timer_due_at(session)
        self._overdue.set(0 if due_at is None else max(0.0, (now - due_at).total_seconds()))
        if due_at is None:
            return timedelta(seconds=POLL_SECONDS)
        if due_at > now:
            return min(due_at - now, timedelta(seconds=POLL_SECONDS))
        async with self._database.transaction() as session:
            done = await subscriptions.run_due_timers(session, now, limit=TIMERS_MAX)
        self._report(done)
        return timedelta() if done else timedelta(seconds=CONTENTION_SECONDS)

    async def _sleep(self, span: timedelta) -> None:
        self._sleeps_until = datetime.now(UTC) + span
        with suppress(TimeoutError):
            async with asyncio.timeout(span.total_seconds()):
                await self._written.wait()

    def _notice(self, session: AsyncSession) -> None:
        """Hook after a commit of this process: wake up for a timer that is due before the next look."""
        earliest = subscriptions.earliest_scheduled_timer(session)
        if earliest is not None and earliest < self._sleeps_until:
            self._written.set()

    def _report(self, done: list[rules.Timer]) -> None:
        now = datetime.now(UTC)
        for timer in done:
            self._lateness.labels(timer.kind).observe(max(0.0, (now - timer.due_at).total_seconds()))
            log.info("timer_done", kind=timer.kind, tenant_id=timer.tenant_id, due_at=timer.due_at.isoformat())
