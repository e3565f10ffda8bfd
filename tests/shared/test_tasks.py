"""Tasks: what a worker attempts, records, repeats and sets aside, on PostgreSQL."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from deploy.devstack.forks import Forker, start
from shared import tasks
from shared.postgres.database import Database
from shared.tasks import Attempted, LeaseLost, NewTask, Task, TaskKind, commands, store
from shared.tasks import worker as tasks_worker
from tests.harness.services import open_database
from tests.harness.stack import BackingStack
from tests.harness.tasks import KIND, Replica, recorded_in, replicas, schedule
from tests.harness.transport import shared_database
from tests.harness.waiting import eventually

HOUR = timedelta(hours=1)


@pytest.fixture
async def database(backing: BackingStack) -> AsyncIterator[Database]:
    async with shared_database(backing) as database:
        yield database


async def rows(database: Database) -> list[dict[str, Any]]:
    async with database.reading() as session:
        return await store.list_tasks(session, kind=None, only_set_aside=False, rows_max=100)


def tasks_options(*arguments: str) -> argparse.Namespace:
    """What the command line makes of the arguments of `tasks`."""
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    return parser.parse_args(arguments)


async def none_left(database: Database) -> None:
    async def is_empty() -> bool:
        return not await rows(database)

    await eventually(is_empty, what="every task is done")


async def test_a_task_is_recorded_once_by_many_workers_and_not_before_its_instant(database: Database) -> None:
    seen: list[Task] = []
    due_at = datetime.now(UTC) + timedelta(seconds=1)
    async with replicas(database.url, recorded_in(seen), count=3) as workers:
        await schedule(database, *(NewTask(KIND, str(number), due_at, {"number": number}) for number in range(300)))
        await none_left(database)

    assert sorted(int(task.key) for task in seen) == list(range(300))
    assert all(task.claimed_at >= due_at and task.payload == {"number": int(task.key)} for task in seen)
    counts = [one.metric("waybill_task_lateness_seconds_count", kind=KIND) for one in workers]
    assert sum(counts) == 300


async def test_tasks_of_a_transaction_that_is_rolled_back_do_not_exist(database: Database) -> None:
    async def schedule_and_fail() -> None:
        async with database.transaction() as session:
            await tasks.schedule(session, [NewTask(KIND, "a")])
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await schedule_and_fail()

    assert await rows(database) == []


async def test_adding_keeps_a_task_and_scheduling_replaces_it(database: Database) -> None:
    first, second, third = (datetime.now(UTC) + hours * HOUR for hours in (1, 2, 3))
    await schedule(database, NewTask(KIND, "a", first, {"n": 1}))

    async with database.transaction() as session:
        await tasks.add(session, [NewTask(KIND, "a", second, {"n": 2}), NewTask(KIND, "b", second)])
    assert [(row["key"], row["due_at"]) for row in await rows(database)] == [("a", first), ("b", second)]

    await schedule(database, NewTask(KIND, "a", third, {"n": 3}))
    assert [(row["key"], row["payload"]) for row in await rows(database)] == [("b", {}), ("a", {"n": 3})]


async def test_a_worker_wakes_up_for_a_task_of_its_own_process(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_worker, "POLL_SECONDS", 3600.0)
    seen: list[Task] = []
    async with replicas(database.url, recorded_in(seen)) as (own,):

        async def sleeps() -> bool:
            return own.worker._wakeup.is_set is False and own.database.engine.pool.checkedin() > 0  # type: ignore[attr-defined]

        await eventually(sleeps, what="the worker has found nothing")
        await schedule(own.database, NewTask(KIND, "a", datetime.now(UTC) + timedelta(seconds=0.5)))
        await none_left(database)

    assert [task.key for task in seen] == ["a"]


async def test_a_task_that_fails_for_ever_is_set_aside_and_tried_again_on_request(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_worker, "SET_ASIDE_COUNT_SECONDS", 0.05)
    healed = asyncio.Event()
    attempts: list[int] = []
    given_up: list[str] = []

    async def attempt(task: Task) -> None:
        attempts.append(task.attempt)
        if not healed.is_set():
            raise ValueError("the printer is on fire")

    async def give_up(session: AsyncSession, task: Task, reason: str) -> None:
        given_up.append(reason)

    kind = TaskKind(
        KIND, attempt=attempt, give_up=give_up, attempts_max=3, delay_seconds_min=0.01, delay_seconds_max=0.02
    )
    async with replicas(database.url, kind) as (worker,):
        await schedule(database, NewTask(KIND, "a"))
        await worker.until("waybill_tasks_set_aside", 1, kind=KIND)
        assert attempts == [1, 2, 3]
        assert given_up == ["ValueError('the printer is on fire')"]
        assert worker.metric("waybill_task_attempts_total", kind=KIND, result="failed") == 3

        capsys.readouterr()  # what was logged
        await asyncio.to_thread(commands.run, "jobs", database.url, tasks_options("list", "--set-aside"))
        (listed,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert (listed["key"], listed["attempts"]) == ("a", 3)
        assert listed["reason"] == "ValueError('the printer is on fire')"

        healed.set()
        status = await asyncio.to_thread(commands.run, "jobs", database.url, tasks_options("retry", listed["id"]))
        assert (status, capsys.readouterr().out) == (0, "1 due again\n")
        await none_left(database)
        again = await asyncio.to_thread(commands.run, "jobs", database.url, tasks_options("retry", listed["id"]))

    assert attempts == [1, 2, 3, 1]
    assert again == 2


async def test_one_task_that_cannot_be_recorded_does_not_hold_up_the_others(database: Database) -> None:
    def refuse_third(task: Task) -> None:
        if task.key == "3":
            raise ValueError("not this one")

    seen: list[Task] = []
    await schedule(database, *(NewTask(KIND, str(number)) for number in range(5)))
    async with replicas(database.url, recorded_in(seen, when=refuse_third)):

        async def only_one_left() -> bool:
            return [(row["key"], row["reason"]) for row in await rows(database)] == [
                ("3", "ValueError('not this one')")
            ]

        await eventually(only_one_left, what="the others are done")

    assert sorted(task.key for task in seen) == ["0", "1", "2", "4"]


async def test_a_task_that_was_changed_meanwhile_is_attempted_anew_and_recorded_once(database: Database) -> None:
    reached, proceed = asyncio.Event(), asyncio.Event()
    recorded: list[dict[str, Any]] = []

    async def attempt(task: Task) -> None:
        reached.set()
        if task.payload == {"n": 1}:
            await proceed.wait()

    async def record(session: AsyncSession, attempted: Sequence[Attempted]) -> None:
        recorded.extend(dict(one.task.payload) for one in attempted)

    await schedule(database, NewTask(KIND, "a", None, {"n": 1}))
    async with replicas(database.url, TaskKind(KIND, attempt=attempt, record=record), count=2) as workers:
        await reached.wait()
        await schedule(database, NewTask(KIND, "a", None, {"n": 2}))
        await none_left(database)
        proceed.set()

        async def is_lost() -> bool:
            return sum(one.metric("waybill_task_attempts_total", kind=KIND, result="lost") for one in workers) == 1

        await eventually(is_lost, what="the first attempt has found its lease lost")

    assert recorded == [{"n": 2}]


async def test_a_cancelled_task_is_not_recorded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_worker, "RENEW_SECONDS", 0.05)
    reached, ended = asyncio.Event(), asyncio.Event()
    recorded: list[Attempted] = []

    async def attempt(task: Task) -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def record(session: AsyncSession, attempted: Sequence[Attempted]) -> None:
        recorded.extend(attempted)

    await schedule(database, NewTask(KIND, "a"))
    async with replicas(database.url, TaskKind(KIND, attempt=attempt, record=record)):
        await reached.wait()
        async with database.transaction() as session:
            await tasks.cancel(session, KIND, ["a"])
        await asyncio.wait_for(ended.wait(), 30)

    assert recorded == []


async def test_an_attempt_keeps_its_lease_for_as_long_as_it_takes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_worker, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(tasks_worker, "RENEW_SECONDS", 0.1)
    attempts: list[int] = []

    async def attempt(task: Task) -> None:
        attempts.append(task.attempt)
        await asyncio.sleep(4)  # longer than a lease that is not renewed

    await schedule(database, NewTask(KIND, "a"))
    async with replicas(database.url, TaskKind(KIND, attempt=attempt), count=2):
        await none_left(database)

    assert attempts == [1]


async def test_an_attempt_that_takes_too_long_has_failed(database: Database) -> None:
    async def attempt(task: Task) -> None:
        if task.attempt == 1:
            await asyncio.Event().wait()

    await schedule(database, NewTask(KIND, "a"))
    kind = TaskKind(KIND, attempt=attempt, attempt_seconds=0.1, delay_seconds_min=0.01)
    async with replicas(database.url, kind) as (worker,):
        await none_left(database)

    assert worker.metric("waybill_task_attempts_total", kind=KIND, result="failed") == 1
    assert worker.metric("waybill_task_attempts_total", kind=KIND, result="recorded") == 1


async def test_a_task_is_due_again_when_its_record_says_so(database: Database) -> None:
    seen: list[int] = []

    async def attempt(task: Task) -> timedelta | None:
        seen.append(task.attempt)
        return timedelta() if len(seen) < 4 else None

    await schedule(database, NewTask(KIND, "a"))
    async with replicas(database.url, TaskKind(KIND, attempt=attempt)):
        await none_left(database)

    assert seen == [1, 1, 1, 1]


async def test_a_worker_that_stops_gives_its_tasks_back_at_once(database: Database) -> None:
    reached = asyncio.Event()

    async def hang(task: Task) -> None:
        reached.set()
        await asyncio.Event().wait()

    await schedule(database, NewTask(KIND, "a"))
    stopping = Replica(database.url, TaskKind(KIND, attempt=hang))
    await reached.wait()
    await stopping.stop()

    (row,) = await rows(database)
    assert (row["leased"], row["attempts"]) == (False, 0)
    assert row["next_at"] <= datetime.now(UTC)


async def test_a_killed_worker_has_its_attempt_repeated_with_the_same_key(
    database: Database, forker: Forker | None, tmp_path: Path
) -> None:
    said = tmp_path / "said"

    async def was_made() -> bool:
        return said.exists() and bool(said.read_text())

    await schedule(database, NewTask(KIND, "letter-17"))
    worker = start(
        ["tests.harness.tasks", database.url, str(said)],
        {},
        output=tmp_path / "out",
        errors=tmp_path / "err",
        forker=forker,
    )
    try:
        await eventually(was_made, seconds=90, what="the attempt was made")
    finally:
        worker.kill()
        worker.wait(10)
    async with database.transaction() as session:
        # Its lease ends.
        await session.execute(text("UPDATE tasks SET next_at = now()"))

    async def attempt(task: Task) -> None:
        with said.open("a") as file:
            file.write(f"{task.key}\n")

    async with replicas(database.url, TaskKind(KIND, attempt=attempt), count=2):
        await none_left(database)

    assert said.read_text() == "letter-17\nletter-17\n"


async def test_a_task_whose_attempts_all_kill_their_process_is_set_aside(database: Database) -> None:
    await schedule(database, NewTask(KIND, "a"))
    async with database.transaction() as session:
        await session.execute(text("UPDATE tasks SET attempts = 2, lease_token = gen_random_uuid()"))
    made: list[Task] = []

    async def attempt(task: Task) -> None:
        made.append(task)

    async with replicas(database.url, TaskKind(KIND, attempt=attempt, attempts_max=2)):

        async def is_set_aside() -> bool:
            (row,) = await rows(database)
            return row["set_aside_at"] is not None

        await eventually(is_set_aside, what="the task is set aside")

    assert made == []


async def test_a_task_of_an_unknown_kind_is_left_alone(database: Database) -> None:
    seen: list[Task] = []
    await schedule(database, NewTask("of_a_newer_release", "a"), NewTask(KIND, "b"))
    async with replicas(database.url, recorded_in(seen)):

        async def only_the_other_is_left() -> bool:
            return [row["kind"] for row in await rows(database)] == ["of_a_newer_release"]

        await eventually(only_the_other_is_left, what="the known task is done")

    assert [task.key for task in seen] == ["b"]


async def test_a_write_under_a_lost_lease_is_refused(database: Database) -> None:
    await schedule(database, NewTask(KIND, "a"))
    async with database.transaction() as session:
        (task,) = await store.claim(session, {KIND: 1}, 10)
    async with database.transaction() as session:
        await tasks.require_lease(session, task)
    await schedule(database, NewTask(KIND, "a"))

    with pytest.raises(LeaseLost):
        async with database.transaction() as session:
            await tasks.require_lease(session, task)
    with pytest.raises(LeaseLost):
        async with database.transaction() as session:
            await store.conclude(session, [task], {})
    assert len(await rows(database)) == 1


async def test_the_leases_of_tasks_are_not_waited_for_while_a_write_holds_one(database: Database) -> None:
    await schedule(database, NewTask(KIND, "a"), NewTask(KIND, "b"))
    async with database.transaction() as session:
        leased = await store.claim(session, {KIND: 2}, 10)
    other = open_database(database.url)
    try:
        async with database.transaction() as session:
            await tasks.require_lease(session, leased[0])
            async with other.transaction() as renewing:
                await renewing.execute(text("SET LOCAL lock_timeout = '100ms'"))
                assert await store.renew(renewing, leased, 10) == {task.id for task in leased}
    finally:
        await other.close()
