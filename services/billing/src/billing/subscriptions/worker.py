"""Ends trials at their instant, in any number of replicas: the tasks of subscriptions."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from billing import subscriptions
from billing.subscriptions import TRIAL_END
from shared import tasks
from shared.tasks import Attempted, TaskKind


def task_kinds() -> Sequence[TaskKind]:
    """What the worker of billing works on."""
    return [TaskKind(TRIAL_END, record=_end_trials)]


async def _end_trials(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, tasks.Again]:
    task_ids = {one.task.key: one.task.id for one in attempted}
    now = max(one.task.claimed_at for one in attempted)
    later = await subscriptions.end_trials(session, task_ids, now)
    return {task_ids[tenant_id]: ends_at for tenant_id, ends_at in later.items()}
