"""`python -m tests.billing.mortal_worker JSON`: the worker of a replica of billing, which kills itself at one of its commits.

It says a line for each commit. Its leases are as long as any: on a busy machine shorter ones would end while it works.
"""

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncSession

from billing.providers.fake import FakeProvider
from billing.subscriptions import worker
from shared.messaging import outbox
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.tasks import TaskWorker
from shared.tasks import worker as tasks_worker


async def work(database_url: str, provider_url: str, *, dies_at: int | None = None, when: str = "after") -> None:
    """Work, and die before or after the commit of this number; without one, live until somebody kills it."""
    database = Database(database_url, application_name="billing", pool_size=3)
    outbox.attach(database, None)
    provider = FakeProvider(provider_url)
    commits = 0

    async def before_commit(session: AsyncSession) -> None:
        nonlocal commits
        commits += 1
        sys.stdout.write(f"{commits}\n")
        sys.stdout.flush()
        if when == "before" and commits == dies_at:
            # What PostgreSQL has of this transaction is rolled back when it sees the connection end.
            _die()

    def after_commit(session: AsyncSession) -> None:
        if when == "after" and commits == dies_at:
            _die()

    database.before_commit.append(before_commit)
    database.after_commit.append(after_commit)
    # On a busy machine the provider may answer too late, and is asked again.
    worker.LOOK_UP_AGAIN = timedelta(seconds=1)
    tasks_worker.POLL_SECONDS = 0.2
    await TaskWorker(database, worker.task_kinds(database, {provider.name: provider}), Metrics("billing")).run()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nothing runs after that")


if __name__ == "__main__":
    asyncio.run(work(**json.loads(sys.argv[1])))
