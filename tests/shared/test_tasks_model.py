"""Tasks against a model: random tasks, workers, crashes and clock steps; each due task is done once, none is lost, none is early."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import tasks
from shared.postgres.database import Database
from shared.tasks import Attempted, NewTask, Task, TaskKind
from shared.tasks import worker as tasks_worker
from tests.harness import effort
from tests.harness.clock import SteppedClock
from tests.harness.stack import BackingStack
from tests.harness.tasks import Replica
from tests.harness.transport import shared_database
from tests.harness.waiting import eventually

STEPS, STEPS_MAX = 120, 1200
DONE_MIN = 31
KEYS = 12
REPLICAS_MAX = 3
RECORDED, ATTEMPTED = "recorded_alone", "attempted_first"
_DONE = "CREATE TABLE done (generation bigint NOT NULL, claimed_at timestamptz NOT NULL)"


@dataclass
class Model:
    """What was asked for: of each kind and key the latest generation, and of every generation its instant."""

    due_at: dict[int, datetime] = field(default_factory=dict)
    present: dict[tuple[str, str], int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    """Generations that were replaced or cancelled: they may have been done before, or not."""

    def schedule(self, kind: str, key: str, due_at: datetime) -> NewTask:
        self.cancel(kind, key)
        generation = len(self.due_at)
        self.due_at[generation] = due_at
        self.present[kind, key] = generation
        return NewTask(kind, key, due_at, {"generation": generation})

    def cancel(self, kind: str, key: str) -> None:
        former = self.present.pop((kind, key), None)
        if former is not None:
            self.ended.add(former)


class Chaos:
    """Attempts and records that sometimes fail, hang or come late, until `calm`."""

    def __init__(self, chance: random.Random):
        self._chance = chance
        self.calm = asyncio.Event()

    def kinds(self) -> Sequence[TaskKind]:
        often = {"delay_seconds_min": 0.01, "delay_seconds_max": 5.0, "attempts_max": 10_000, "at_once": 7}
        return [
            TaskKind(RECORDED, record=self._record, **often),  # type: ignore[arg-type]
            TaskKind(ATTEMPTED, record=self._record, attempt=self._attempt, **often),  # type: ignore[arg-type]
        ]

    async def _attempt(self, task: Task) -> None:
        chance = self._chance.random()
        if self.calm.is_set() or chance < 0.5:
            return
        if chance < 0.7:
            raise ValueError("failed attempt")
        if chance < 0.8:
            await self.calm.wait()
        await asyncio.sleep(self._chance.random() * 0.05)

    async def _record(self, session: AsyncSession, attempted: Sequence[Attempted]) -> None:
        for one in attempted:
            await session.execute(
                text("INSERT INTO done VALUES (:generation, :claimed_at)"),
                {"generation": one.task.payload["generation"], "claimed_at": one.task.claimed_at},
            )
        if not self.calm.is_set() and self._chance.random() < 0.1:
            raise ValueError("failed record")


@pytest.fixture
async def database(backing: BackingStack) -> AsyncIterator[Database]:
    async with shared_database(backing) as database:
        yield database


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", effort.seeds(2))
async def test_each_due_task_is_done_once_and_nothing_is_lost_or_early(
    database: Database, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_worker, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(tasks_worker, "RENEW_SECONDS", 0.05)
    clock, chance, model = SteppedClock(database.url), random.Random(seed), Model()
    await clock.install()
    chaos = Chaos(chance)
    editor = Database(database.url, application_name="editor", pool_size=2)
    async with editor.transaction() as session:
        await session.execute(text(_DONE))
    running = [Replica(database.url, *chaos.kinds())]

    async def change() -> None:
        kind, key = chance.choice((RECORDED, ATTEMPTED)), str(chance.randrange(KEYS))
        match chance.choices(("schedule", "cancel", "clock", "crash", "stop", "start"), (50, 8, 20, 6, 3, 8))[0]:
            case "schedule":
                due_at = await clock.now() + timedelta(seconds=chance.uniform(-20, 60))
                async with editor.transaction() as session:
                    await tasks.schedule(session, [model.schedule(kind, key, due_at)])
            case "cancel":
                async with editor.transaction() as session:
                    await tasks.cancel(session, kind, [key])
                model.cancel(kind, key)
            case "clock":
                await clock.step(timedelta(seconds=chance.choice((-30, -1, 1, 5, 20, 45))))
            case "crash" if running:
                await running.pop(chance.randrange(len(running))).crash()
            case "stop" if running:
                await running.pop(chance.randrange(len(running))).stop()
            case "start" if len(running) < REPLICAS_MAX:
                running.append(Replica(database.url, *chaos.kinds()))

    async def done() -> Sequence[Any]:
        async with editor.reading() as session:
            return (await session.execute(text("SELECT generation, claimed_at FROM done"))).all()

    async def nothing_left() -> bool:
        # Leases of workers that crashed end, and delays of failures pass.
        await clock.step(timedelta(seconds=30))
        async with editor.reading() as session:
            return bool((await session.execute(text("SELECT count(*) FROM tasks"))).scalar_one() == 0)

    try:
        for step in range(STEPS_MAX * effort.FACTOR):
            # How much is done in so many steps is a matter of how busy the machine is.
            if step >= STEPS * effort.FACTOR and len(await done()) >= DONE_MIN:
                break
            await change()
            await asyncio.sleep(chance.random() * 0.02)
        chaos.calm.set()
        running.append(Replica(database.url, *chaos.kinds()))
        await eventually(nothing_left, seconds=60, what="every task is done")
        found = await done()
    finally:
        for one in running:
            await one.stop()
        await editor.close()

    generations = [row.generation for row in found]
    assert len(generations) == len(set(generations)), "a task was done twice"
    assert set(model.present.values()) <= set(generations), "a task was lost"
    assert set(generations) - set(model.present.values()) <= model.ended
    assert all(row.claimed_at >= model.due_at[row.generation] for row in found), "a task was done early"
    assert len(generations) >= DONE_MIN
