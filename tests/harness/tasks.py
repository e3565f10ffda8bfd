"""Workers of tasks in the tests' process.

As a program (`python -m tests.harness.tasks <database URL> <file>`) this is a worker that attempts what is due, says so in the file, and
never records it: kill it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from shared import tasks
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.tasks import Attempted, NewTask, Task, TaskKind, TaskWorker
from tests.harness.services import open_database
from tests.harness.waiting import eventually

KIND = "letter"


class Replica:
    """One process's worker: its own connections and metrics."""

    def __init__(self, url: str, *kinds: TaskKind):
        self.database = open_database(url, pool_size=3)
        self.metrics = Metrics("tasks")
        self.worker = TaskWorker(self.database, kinds, self.metrics)
        self._running = asyncio.create_task(self.worker.run())

    async def stop(self) -> None:
        """Stop in order: what is in progress is given back."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.database.close()

    async def crash(self) -> None:
        """Stop like a process that was killed: leases stay until they end."""

        async def nothing() -> None: ...

        self.worker._give_back = nothing  # type: ignore[method-assign]
        for claimed in self.worker._claimed.values():
            if claimed.attempt is not None:
                claimed.attempt.cancel()
        await self.stop()

    def metric(self, name: str, **labels: str) -> float:
        """The present value of a metric of this worker; 0 before it was first set."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def until(self, name: str, value: float, **labels: str) -> None:
        """Wait until a metric has reached this value."""

        async def reached() -> bool:
            return self.metric(name, **labels) >= value

        await eventually(reached, what=f"{name} is {value}")


@asynccontextmanager
async def replicas(url: str, *kinds: TaskKind, count: int = 1) -> AsyncIterator[Sequence[Replica]]:
    """Running workers, each like a process of its own."""
    running = [Replica(url, *kinds) for _ in range(count)]
    try:
        yield running
    finally:
        for one in running:
            await one.stop()


async def schedule(database: Database, *new: NewTask) -> None:
    async with database.transaction() as session:
        await tasks.schedule(session, new)


def recorded_in(seen: list[Task], *, when: Callable[[Task], object] = lambda _: None) -> TaskKind:
    """A kind whose record remembers the tasks; `when` is called with each before, and may raise."""

    async def record(session: AsyncSession, attempted: Sequence[Attempted]) -> None:
        for one in attempted:
            when(one.task)
        seen.extend(one.task for one in attempted)

    return TaskKind(KIND, record=record)


async def _attempt_and_never_record(url: str, said: Path) -> None:
    async def attempt(task: Task) -> None:
        with said.open("a") as file:
            file.write(f"{task.key}\n")

    async def record(session: AsyncSession, attempted: Sequence[Attempted]) -> None:
        await asyncio.Event().wait()

    await TaskWorker(open_database(url), [TaskKind(KIND, attempt=attempt, record=record)], Metrics("tasks")).run()


if __name__ == "__main__":
    asyncio.run(_attempt_and_never_record(sys.argv[1], Path(sys.argv[2])))
