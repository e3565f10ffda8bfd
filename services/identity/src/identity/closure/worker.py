"""Deletes the personal data of closed tenants when their time has come, in any number of replicas."""

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from identity import closure
from identity.closure import PURGE
from shared.postgres.database import Database
from shared.tasks import Again, Task, TaskKind

TURN_SECONDS = 20.0
"""After so long other tasks have their turn; what is left follows at once."""


def task_kinds(database: Database) -> Sequence[TaskKind]:
    """What the worker of identity does for closed tenants."""
    return [TaskKind(PURGE, attempt=partial(_purge, database), at_once=1)]


async def _purge(database: Database, task: Task) -> Again | None:
    until = time.monotonic() + TURN_SECONDS
    while not await closure.purge_some(database, task.key):
        if time.monotonic() >= until:
            return timedelta()
    return None
