"""A stage for the benches of billing: its database with plans and tenants, and the worker of one replica in this process."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import asyncpg
import yaml

from bench import single
from bench.figures import Results
from billing import plans, tenants
from billing.plans import PlanFile
from billing.subscriptions import operations
from billing.subscriptions.worker import task_kinds
from shared.events.identity import TenantCreated
from shared.messaging import outbox
from shared.observability.metrics import Metrics
from shared.postgres.database import Database, plain_url
from shared.tasks import TaskWorker
from tests.harness.people import tenant_created
from tests.harness.stack import BackingStack, migrated
from tests.harness.waiting import eventually

PLANS = Path(__file__).parents[1] / "deploy" / "plans.yaml"
COUNT = 10_000
AT_ONCE = 1_000
WAIT_SECONDS = 300.0
_EMPTY = "TRUNCATE subscriptions, tenants, tasks, outbox, invoices, invoice_counters, ledger_entries CASCADE"


@dataclass
class BillingStage:
    """Billing's database, reached as a replica does and by a bare connection."""

    database: Database
    connection: asyncpg.Connection

    async def begin_trials(self, count: int, ends_at: Callable[[int], datetime]) -> None:
        """Tenants and their trials in place of all others; `ends_at` says when the trial of each number ends."""
        await self.connection.execute(_EMPTY)
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            created: list[TenantCreated] = [
                tenant_created(trial_days=1, at=ends_at(number) - timedelta(days=1)) for number in numbers
            ]
            async with self.database.transaction() as session:
                await tenants.project(session, created)
                await operations.start_trials(session, created, default_days=1)
        # What has been published so far is not measured.
        await self.connection.execute("TRUNCATE outbox")
        await self.connection.execute("VACUUM ANALYZE subscriptions, tasks, tenants")

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """The worker of one replica, with billing's own tasks; documents and charges are made by nobody."""
        # As a service does before it serves.
        gc.collect()
        gc.freeze()
        due = [kind for kind in task_kinds(self.database, {}) if kind.attempt is None]
        worker = asyncio.create_task(TaskWorker(self.database, due, Metrics("bench")).run())
        try:
            yield
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)

    async def seconds_until_none(self, query: str) -> float:
        """How long this query still finds something."""
        began = time.monotonic()
        nothing = f"SELECT NOT EXISTS ({query})"
        await eventually(lambda: self.connection.fetchval(nothing), seconds=WAIT_SECONDS, what=nothing)
        return time.monotonic() - began


class Measure(Protocol):
    """What a bench of billing does on its stage."""

    def __call__(self, stage: BillingStage, *, quick: bool) -> Awaitable[Results]: ...


def on_stage(measure: Measure) -> single.Measure:
    """The same, on servers alone: the stage is set on them first."""

    async def measured(backing: BackingStack, *, quick: bool) -> Results:
        url = await asyncio.to_thread(migrated, backing, "billing")
        database = Database(url, application_name="bench-billing")
        outbox.attach(database, None)
        connection = await asyncpg.connect(plain_url(url))
        try:
            async with database.transaction() as session:
                file = PlanFile.model_validate(yaml.safe_load(PLANS.read_text()))
                await plans.load(session, file, datetime.now(UTC))
            return await measure(BillingStage(database, connection), quick=quick)
        finally:
            await connection.close()
            await database.close()

    return measured
