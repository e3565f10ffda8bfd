"""Moves test clocks."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from billing import test_clocks
from billing.test_clocks import TEST_CLOCK
from shared import tasks
from shared.tasks import Attempted, TaskKind


def task_kind(services: Collection[str]) -> TaskKind:
    """How test clocks are moved; these services must know of an arrival before a clock is ready."""

    async def record(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, tasks.Again]:
        again: dict[UUID, tasks.Again] = {}
        for one in attempted:
            after = await test_clocks.work(session, one.task.key, services, datetime.now(UTC))
            if after is not None:
                again[one.task.id] = after
        return again

    # Each step is a transaction of its own.
    return TaskKind(TEST_CLOCK, record=record, at_once=1)
