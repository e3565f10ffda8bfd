"""Makes test clocks, and moves them.

A clock is moved by a task, step by step: to the first instant at which something is due, which is then done in a transaction of its own;
then to the next. A charge that is under way is waited for. When nothing is due any more until the target, the clock is set to it, and
ready when that has been told and is in force everywhere.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import subscriptions
from billing.test_clocks.queries import has_unpublished, lock_for_update, view
from billing.test_clocks.rules import OnlyTestTenants, StillAdvancing, check_target
from billing.test_clocks.schemas import TestClock
from billing.test_clocks.tables import TestClockRow
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
    row.status, row.target_at, row.arrival_event, row.acknowledged_by = "advancing", to, None, []
    _touch(row, at)
    await tasks.schedule(session, [NewTask(TEST_CLOCK, tenant_id)])
    audit.record(session, actor, "test_clock.advanced", tenant_id, after={"to": to.isoformat()})
    return view(row, now)


async def work(session: AsyncSession, tenant_id: str, services: Collection[str], at: datetime) -> timedelta | None:
    """One step of a clock that is being moved; returns after how long the next one follows. `services` must know of the arrival."""
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
    acknowledged = {replica.partition("/")[0] for replica in row.acknowledged_by}
    if await has_unpublished(session, tenant_id) or not set(services) <= acknowledged:
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


def _touch(row: TestClockRow, at: datetime) -> None:
    row.version += 1
    row.updated_at = at
