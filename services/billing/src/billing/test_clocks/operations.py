"""Makes test clocks, and moves them.

A clock is moved by a task, step by step: to the first instant at which something is due, which is then done in a transaction of its own;
then to the next. A charge that is under way is waited for. When nothing is due any more until the target, the clock is set to it, and
ready when that has been told and is in force everywhere: a replica that has acknowledged it goes by it, and every other one of its service
as soon as it has forgotten what it knew before, because the row that it then reads is written.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import subscriptions
from billing.test_clocks.queries import has_unpublished, lock_for_update, running_replicas, view
from billing.test_clocks.rules import (
    HEARD_WITHIN,
    KEPT_FOR,
    OnlyTestTenants,
    StillAdvancing,
    check_target,
    have_acknowledged,
)
from billing.test_clocks.schemas import TestClock
from billing.test_clocks.tables import ReplicaRow, TestClockRow
from shared import audit, tasks
from shared.audit import Actor
from shared.tasks import NewTask

TEST_CLOCK = "test_clock"
"""The kind of the task that moves a clock; its key is the tenant's id."""
AT_ONCE = timedelta()
SOON = timedelta(milliseconds=50)


async def create(session: AsyncSession, actor: Actor, tenant_id: str, at: datetime) -> TestClock:
    """Give a test tenant a clock of its own, which shows the present time; a tenant that has one keeps it. Raises `OnlyTestTenants`."""
    livemode, now = await subscriptions.lock_clock(session, tenant_id, at)
    if livemode:
        raise OnlyTestTenants
    row = await session.get(TestClockRow, tenant_id)
    if row is None:
        row = TestClockRow(
            tenant_id=tenant_id, status="ready", acknowledged_by=[], version=1, created_at=at, updated_at=at
        )
        session.add(row)
        audit.record(session, actor, "test_clock.created", tenant_id)
    return view(row, now)


async def advance(session: AsyncSession, actor: Actor, tenant_id: str, to: datetime, at: datetime) -> TestClock:
    """Begin to move the clock. Raises `TestClockNotFound`, `StillAdvancing` or `ClockTarget`."""
    _, now = await subscriptions.lock_clock(session, tenant_id, at)
    row = await lock_for_update(session, tenant_id)
    if row.status == "advancing":
        raise StillAdvancing
    check_target(to, now)
    row.status, row.target_at = "advancing", to
    row.arrival_event, row.acknowledged_by, row.acknowledged_at = None, [], None
    _touch(row, at)
    await tasks.schedule(session, [NewTask(TEST_CLOCK, tenant_id)])
    audit.record(session, actor, "test_clock.advanced", tenant_id, after={"to": to.isoformat()})
    return view(row, now)


async def work(
    session: AsyncSession, tenant_id: str, services: Collection[str], at: datetime, *, forgotten_after: timedelta
) -> timedelta | None:
    """One step of a clock that is being moved; returns after how long the next one follows.

    `services` must know of the arrival. A replica that does not acknowledge it goes by what it knew before for `forgotten_after` at most.
    """
    await subscriptions.lock_clock(session, tenant_id, at)
    row = await lock_for_update(session, tenant_id)
    if row.status != "advancing" or row.target_at is None:
        return None
    if row.arrival_event is None:
        progress = await subscriptions.advance_clock(session, tenant_id, row.target_at, at)
        if progress.is_waiting:
            return SOON
        row.arrival_event = progress.arrival_event
        return AT_ONCE
    if await has_unpublished(session, tenant_id) or not have_acknowledged(services, row.acknowledged_by):
        return SOON
    if row.acknowledged_at is None:
        row.acknowledged_at = at
    behind = await running_replicas(session, services, at - HEARD_WITHIN) - set(row.acknowledged_by)
    if behind and at < row.acknowledged_at + forgotten_after:
        return SOON
    row.status = "ready"
    _touch(row, at)
    return None


async def acknowledge(session: AsyncSession, replica: str, events: Sequence[str]) -> None:
    """In this replica (`service/name`) these events are in force."""
    if not events:
        return
    clocks = update(TestClockRow).where(col(TestClockRow.arrival_event).in_(events))
    missing = clocks.where(~col(TestClockRow.acknowledged_by).contains([replica]))
    await session.execute(missing.values(acknowledged_by=func.array_append(col(TestClockRow.acknowledged_by), replica)))


async def note_replicas(session: AsyncSession, heard: Mapping[str, datetime], stopped: Collection[str]) -> None:
    """These replicas were heard of then, and those have stopped."""
    if heard:
        rows = [{"replica": replica, "last_heard_at": at} for replica, at in sorted(heard.items())]
        statement = insert(ReplicaRow).values(rows)
        later = func.greatest(col(ReplicaRow.last_heard_at), statement.excluded.last_heard_at)
        await session.execute(
            statement.on_conflict_do_update(index_elements=["replica"], set_={"last_heard_at": later})
        )
        await session.execute(delete(ReplicaRow).where(col(ReplicaRow.last_heard_at) < max(heard.values()) - KEPT_FOR))
    if stopped:
        await session.execute(delete(ReplicaRow).where(col(ReplicaRow.replica).in_(stopped)))


def _touch(row: TestClockRow, at: datetime) -> None:
    row.version += 1
    row.updated_at = at
