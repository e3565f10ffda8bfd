"""Databases of earlier revisions keep what they hold."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from billing.subscriptions.worker import task_kinds
from shared.events.audit import AuditState
from shared.ids import new_id, to_uuid
from shared.observability.metrics import Metrics
from shared.postgres.migrations import migrate
from shared.tasks import TaskWorker
from tests.harness.billing import published
from tests.harness.services import open_database, waiting_audit_events
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually

BEFORE_TASKS = "0003"
BEFORE_ONE_AUDIT_TRAIL = "0005"


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

    worker = asyncio.create_task(TaskWorker(database, task_kinds(database, {}), Metrics("billing")).run())
    try:
        await eventually(has_ended, what="the trial has ended")
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await database.close()


async def test_audit_events_of_before_are_published(backing: BackingStack) -> None:
    url = await asyncio.to_thread(backing.create_database, "billing")
    await asyncio.to_thread(migrate, "billing", url, BEFORE_ONE_AUDIT_TRAIL)
    database = open_database(url)
    tenant_id, subject = new_id("ten"), new_id("sub")
    at = datetime.now(UTC) - timedelta(days=30)
    async with database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO audit_events (tenant_id, actor, address, action, subject, before, after, at)"
                " SELECT :tenant, 'key_01h455vb4pex5vsknk084sn02q', '192.0.2.1', 'trial.extended', :subject,"
                " jsonb_build_object('number', number), jsonb_build_object('number', number + 1),"
                " CAST(:at AS timestamptz) + make_interval(secs => number) FROM generate_series(1, 1001) AS number"
            ),
            {"tenant": to_uuid(tenant_id), "subject": subject, "at": at},
        )

    await asyncio.to_thread(migrate, "billing", url)

    kept = await waiting_audit_events(database)
    assert len({event.data.audit_id for event in kept}) == 1001
    assert {(event.tenant_id, event.subject, event.data.tenant_id) for event in kept} == {
        (tenant_id, subject, tenant_id)
    }
    assert [event.data.after for event in kept] == [{"number": number + 1} for number in range(1, 1002)]
    assert kept[0].data == AuditState(
        audit_id=kept[0].data.audit_id,
        service="billing",
        tenant_id=tenant_id,
        at=at + timedelta(seconds=1),
        actor="key_01h455vb4pex5vsknk084sn02q",
        actor_kind="platform",
        via="platform_key",
        credential_id="key_01h455vb4pex5vsknk084sn02q",
        address="192.0.2.1",
        request_id="",
        action="trial.extended",
        target=subject,
        before={"number": 1},
        after={"number": 2},
    )
    await database.close()
