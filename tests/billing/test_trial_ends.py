"""The ends of trials with many workers, extensions and crashes, on PostgreSQL: each is published once and in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.metadata import Base
from billing.subscriptions import SUBSCRIPTION_DUE, operations
from billing.subscriptions.schemas import Subscription
from billing.subscriptions.tables import SubscriptionRow
from billing.subscriptions.worker import task_kinds
from shared.access.principals import Caller, Principal
from shared.api import ANY_VERSION
from shared.audit import Actor, Origin
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.tasks import TaskWorker
from shared.tasks import worker as tasks_worker
from tests.harness.billing import TRIAL_DAYS, begin_trial, begin_trials, published
from tests.harness.people import tenant_created
from tests.harness.schema_drift import drift
from tests.harness.services import open_database
from tests.harness.waiting import eventually

SECOND = timedelta(seconds=1)
LONG_SECONDS = 60.0
SOON_SECONDS = 10.0
"""Bound for "in time" on a busy machine; a worker that misses an instant is later than this."""
OPERATOR = Actor(
    Caller("platform", "platform_key", Principal(credential_id="key_operator"), frozenset(), livemode=False),
    Origin("127.0.0.1", "req_operator"),
)


@asynccontextmanager
async def workers(url: str, count: int) -> AsyncIterator[list[Database]]:
    """Running workers, each with its own connections, like replicas."""
    databases = [open_database(url) for _ in range(count)]
    running = [
        asyncio.create_task(TaskWorker(database, task_kinds(database, {}), Metrics("billing")).run())
        for database in databases
    ]
    try:
        yield databases
    finally:
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
        for database in databases:
            await database.close()
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def event_types(database: Database, tenant_id: str) -> list[str]:
    return [event.type for event in await published(database, tenant_id)]


async def expired(database: Database, *tenants: str) -> None:
    """Wait until all these trials have expired."""
    counted = select(func.count()).where(
        col(SubscriptionRow.tenant_id).in_(tenants), col(SubscriptionRow.status) == "expired"
    )

    async def all_expired() -> bool:
        async with database.reading() as session:
            return bool((await session.execute(counted)).scalar_one() == len(tenants))

    await eventually(all_expired, what="the trials have expired")


async def extend(database: Database, tenant_id: str, ends_at: datetime) -> Subscription:
    async with database.transaction() as session:
        now = datetime.now(UTC)
        return await operations.extend_trial(session, OPERATOR, tenant_id, ANY_VERSION, ends_at, now)


async def seconds_late(database: Database, tenant_id: str, ends_at: datetime) -> float:
    """From the end of the trial to the instant of `trial.expired`."""
    (event,) = [event for event in await published(database, tenant_id) if event.type == "trial.expired"]
    return (event.time - ends_at).total_seconds()


async def test_the_migrations_make_what_the_models_say(billing_url: str) -> None:
    assert await asyncio.to_thread(drift, billing_url, Base.metadata) == []


async def test_many_workers_publish_each_end_of_a_trial_once(billing_url: str, database: Database) -> None:
    async with workers(billing_url, 5):
        trials = await begin_trials(database, 150, ends_in=4 * SECOND)
        await expired(database, *trials)

    for tenant_id, ends_at in trials.items():
        assert await event_types(database, tenant_id) == ["trial.started", "trial.expired"]
        assert 0 <= await seconds_late(database, tenant_id, ends_at) < SOON_SECONDS


async def test_a_single_end_is_published_within_a_second_of_its_instant(billing_url: str, database: Database) -> None:
    late: list[float] = []
    async with workers(billing_url, 1):
        for _ in range(3):
            # Far enough in the future for the worker to sleep; set through another database object, so nothing wakes it.
            tenant_id, ends_at = await begin_trial(database, ends_in=1.3 * SECOND)
            await expired(database, tenant_id)
            late.append(await seconds_late(database, tenant_id, ends_at))

    # A pause of the machine at the instant delays one of them, but not all.
    assert 0 <= min(late) < 1


async def test_a_worker_wakes_up_for_a_trial_of_its_own_process(
    billing_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_worker, "POLL_SECONDS", LONG_SECONDS)
    async with workers(billing_url, 1) as (own,):
        await asyncio.sleep(0.2)  # the worker has found no due task and sleeps

        tenant_id, ends_at = await begin_trial(own, ends_in=0.5 * SECOND)
        await expired(own, tenant_id)

        assert 0 <= await seconds_late(own, tenant_id, ends_at) < SOON_SECONDS


async def test_a_trial_that_ended_while_no_worker_ran_is_ended_at_once(billing_url: str, database: Database) -> None:
    tenant_id, _ = await begin_trial(database, ends_in=timedelta(hours=-1))
    assert await event_types(database, tenant_id) == ["trial.started"]

    async with workers(billing_url, 2):
        await expired(database, tenant_id)

    assert await event_types(database, tenant_id) == ["trial.started", "trial.expired"]


async def test_a_worker_that_stops_before_its_commit_leaves_the_trial_to_another(
    billing_url: str, database: Database
) -> None:
    tenant_id, _ = await begin_trial(database, ends_in=timedelta())
    stuck = open_database(billing_url)
    reached = asyncio.Event()

    async def hang(session: AsyncSession) -> None:
        reached.set()
        await asyncio.Event().wait()

    stuck.before_commit.append(hang)
    stuck_worker = asyncio.create_task(TaskWorker(stuck, task_kinds(stuck, {}), Metrics("billing")).run())
    await asyncio.wait_for(reached.wait(), 30)
    async with workers(billing_url, 2):
        await asyncio.sleep(0.3)
        assert await event_types(database, tenant_id) == ["trial.started"]

        stuck_worker.cancel()
        await asyncio.gather(stuck_worker, return_exceptions=True)
        await expired(database, tenant_id)
    await stuck.close()

    assert await event_types(database, tenant_id) == ["trial.started", "trial.expired"]


async def test_a_trial_that_was_extended_meanwhile_does_not_end_at_its_old_end(
    billing_url: str, database: Database
) -> None:
    tenant_id, first_end = await begin_trial(database, ends_in=2 * SECOND)

    async with workers(billing_url, 2):
        extended = await extend(database, tenant_id, first_end + 3 * SECOND)
        await asyncio.sleep((first_end + 0.5 * SECOND - datetime.now(UTC)).total_seconds())
        assert await event_types(database, tenant_id) == ["trial.started", "trial.extended"]
        await expired(database, tenant_id)

    assert extended.trial_ends_at is not None
    assert await event_types(database, tenant_id) == ["trial.started", "trial.extended", "trial.expired"]
    assert 0 <= await seconds_late(database, tenant_id, extended.trial_ends_at) < SOON_SECONDS


async def test_a_trial_with_an_earlier_end_expires_earlier(billing_url: str, database: Database) -> None:
    tenant_id, _ = await begin_trial(database, ends_in=timedelta(days=14))

    async with workers(billing_url, 2):
        earlier = datetime.now(UTC) + 2 * SECOND
        await extend(database, tenant_id, earlier)
        await expired(database, tenant_id)

    assert 0 <= await seconds_late(database, tenant_id, earlier) < SOON_SECONDS


async def test_a_revived_trial_ends_once_more(billing_url: str, database: Database) -> None:
    tenant_id, _ = await begin_trial(database, ends_in=timedelta())

    async with workers(billing_url, 2):
        await expired(database, tenant_id)
        revived = await extend(database, tenant_id, datetime.now(UTC) + 2 * SECOND)
        assert (revived.status, revived.entitled) == ("trialing", True)
        await expired(database, tenant_id)

    events = await published(database, tenant_id)
    assert [event.type for event in events] == ["trial.started", "trial.expired", "trial.extended", "trial.expired"]
    assert [event.sequence for event in events] == [1, 2, 3, 4]


async def test_extensions_at_the_instant_of_the_end_neither_deadlock_nor_get_lost(
    billing_url: str, database: Database
) -> None:
    trials = await begin_trials(database, 40, ends_in=2 * SECOND)
    later = datetime.now(UTC) + timedelta(days=1)

    async def extend_at(tenant_id: str, instant: datetime) -> None:
        await asyncio.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()))
        await extend(database, tenant_id, later)

    async with workers(billing_url, 3):
        await asyncio.gather(*(extend_at(tenant_id, ends_at) for tenant_id, ends_at in trials.items()))
        await asyncio.sleep(0.3)

    async with database.reading() as session:
        for tenant_id in trials:
            row = (
                await session.execute(select(SubscriptionRow).where(col(SubscriptionRow.tenant_id) == tenant_id))
            ).scalar_one()
            due_at = (
                await session.execute(
                    text("SELECT due_at FROM tasks WHERE kind = :kind AND key = :key"),
                    {"kind": SUBSCRIPTION_DUE, "key": tenant_id},
                )
            ).scalar_one()
            assert (row.status, row.trial_ends_at, due_at) == ("trialing", later, later)
    for tenant_id in trials:
        assert await event_types(database, tenant_id) in (
            ["trial.started", "trial.extended"],
            ["trial.started", "trial.expired", "trial.extended"],
        )


async def test_a_repeated_tenant_keeps_its_subscription(billing_url: str, database: Database) -> None:
    created = tenant_created(trial_days=30)
    again = tenant_created(tenant_id=created.subject, trial_days=90)
    for batch in ([created], [created, created], [again]):
        async with database.transaction() as session:
            await operations.start_trials(session, batch, default_days=TRIAL_DAYS)

    (event,) = await published(database, created.subject)
    assert event.type == "trial.started"
    assert event.data.trial_ends_at == created.time + timedelta(days=30)
