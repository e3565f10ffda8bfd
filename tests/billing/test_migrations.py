"""Databases of earlier revisions keep what they hold."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from billing.subscriptions.worker import task_kinds
from shared.ids import new_id, to_uuid
from shared.observability.metrics import Metrics
from shared.postgres.migrations import migrate
from shared.tasks import TaskWorker
from tests.harness.billing import published
from tests.harness.services import open_database
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually

BEFORE_TASKS = "0003"


async def test_a_trial_of_before_ends_by_its_task(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "billing")
    await asyncio.to_thread(migrate, "billing", url, BEFORE_TASKS)
    database = open_database(url)
    tenant_id, ended_at = new_id("ten"), datetime.now(UTC) - timedelta(minutes=1)
    async with database.transaction() as session:
        values = {"id": to_uuid(new_id("sub")), "tenant": to_uuid(tenant_id), "at": ended_at}
        await session.execute(
            text(
                "INSERT INTO subscriptions (id, tenant_id, livemode, status, trial_ends_at, access_until, cancel_at_period_end, version,"
                " created_at, updated_at) VALUES (:id, :tenant, true, 'trialing', :at, :at, false, 1, :at, :at)"
            ),
            values,
        )
        await session.execute(text("INSERT INTO timers VALUES (:tenant, 'trial_end', :at)"), values)

    await asyncio.to_thread(migrate, "billing", url)

    async def has_ended() -> bool:
        return [event.type for event in await published(database, tenant_id)] == ["trial.expired"]

    worker = asyncio.create_task(TaskWorker(database, task_kinds(), Metrics("billing")).run())
    try:
        await eventually(has_ended, what="the trial has ended")
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await database.close()
