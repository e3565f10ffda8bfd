"""Moves test clocks."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from billing import test_clocks
from billing.test_clocks import TEST_CLOCK
from shared import tasks
from shared.tasks import Attempted, TaskKind


def task_kind(services: Collection[str], *, forgotten_after: timedelta) -> TaskKind:
    """How test clocks are moved; these services must know of an arrival before a clock is ready.

    Their replicas go by what they know of a tenant for `forgotten_after` at most.
    """

    async def record(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, tasks.Again]:
        again: dict[UUID, tasks.Again] = {}
        for one in attempted:
            now = datetime.now(UTC)
            after = await test_clocks.work(session, one.task.key, services, now, forgotten_after=forgotten_after)
            if after is not None:
                again[one.task.id] = after
        return again

    # Each step is a transaction of its own.
    return TaskKind(TEST_CLOCK, record=record, at_once=1)
