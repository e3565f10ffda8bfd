"""Reads test clocks."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing import subscriptions
from billing.test_clocks.rules import TestClockNotFound
from billing.test_clocks.schemas import TestClock
from billing.test_clocks.tables import ReplicaRow, TestClockRow

_UNPUBLISHED = text("SELECT EXISTS (SELECT FROM outbox WHERE key = :key)")


async def get(session: AsyncSession, tenant_id: str, at: datetime) -> TestClock:
    """The tenant's test clock. Raises `TestClockNotFound`."""
    row = await session.get(TestClockRow, tenant_id)
    if row is None:
        raise TestClockNotFound
    return view(row, at + await subscriptions.clock_offset(session, tenant_id))


async def lock_for_update(session: AsyncSession, tenant_id: str) -> TestClockRow:
    """The row of the tenant's test clock, locked. Raises `TestClockNotFound`."""
    statement = select(TestClockRow).where(col(TestClockRow.tenant_id) == tenant_id).with_for_update()
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise TestClockNotFound
    return row


async def has_unpublished(session: AsyncSession, tenant_id: str) -> bool:
    """Whether events about the tenant still wait to be published."""
    return bool((await session.execute(_UNPUBLISHED, {"key": tenant_id})).scalar_one())


async def running_replicas(session: AsyncSession, services: Collection[str], since: datetime) -> set[str]:
    """The replicas (`service/name`) of these services that were heard of since then."""
    statement = select(col(ReplicaRow.replica)).where(
        col(ReplicaRow.last_heard_at) >= since, func.split_part(col(ReplicaRow.replica), "/", 1).in_(services)
    )
    return set((await session.execute(statement)).scalars())


def view(row: TestClockRow, now: datetime) -> TestClock:
    """A test clock as the API shows it."""
    return TestClock(**row.model_dump(exclude={"arrival_event", "acknowledged_at"}), now=now)
