"""`python -m bench.tasks`: tasks per second of one worker, compared with the bare statements that claim and remove as many rows."""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from bench.figures import Figure, Results
from bench.single import run
from shared.observability.metrics import Metrics
from shared.postgres.database import Database, plain_url
from shared.tasks import Attempted, Task, TaskKind, TaskWorker
from tests.harness.stack import BackingStack
from tests.harness.transport import database_with_shared_tables
from tests.harness.waiting import eventually

RUN_SECONDS_MAX = 300.0
ROUNDS = 3
TASKS = 30_000
AT_ONCE = 500
RATE_AIM = 5_000

_FILL = """
    INSERT INTO tasks (task_id, kind, key, payload, due_at, next_at)
    SELECT gen_random_uuid(), 'empty', n::text, '{}', now(), now() FROM generate_series(1, $1::int) AS n
"""
_CLAIM = """
    UPDATE tasks SET next_at = now() + interval '10 s', attempts = attempts + 1, lease_token = $1
    WHERE task_id = ANY(ARRAY(
        SELECT task_id FROM tasks WHERE kind = 'empty' AND next_at <= now() AND set_aside_at IS NULL
        ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ))
    RETURNING task_id
"""
_REMOVE = "DELETE FROM tasks WHERE task_id = ANY($1::uuid[]) AND lease_token = $2"


async def _record(session: AsyncSession, attempted: Sequence[Attempted]) -> None: ...


async def _attempt(task: Task) -> None: ...


async def _bare(connection: asyncpg.Connection) -> None:
    token = await connection.fetchval("SELECT gen_random_uuid()")
    while rows := await connection.fetch(_CLAIM, token, AT_ONCE):
        await connection.execute(_REMOVE, [row["task_id"] for row in rows], token)


async def _worked(database: Database, connection: asyncpg.Connection, kind: TaskKind) -> None:
    worker = asyncio.create_task(TaskWorker(database, [kind], Metrics("bench")).run())
    try:
        await eventually(
            lambda: connection.fetchval("SELECT NOT EXISTS (SELECT FROM tasks)"), what="every task is done"
        )
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def measure(backing: BackingStack, *, quick: bool) -> Results:
    """Each way in turn, several rounds."""
    url = await database_with_shared_tables(backing)
    results = Results(quick)
    database = Database(url, application_name="bench-tasks")
    connection = await asyncpg.connect(plain_url(url))
    count = TASKS // 10 if quick else TASKS
    rates: dict[str, list[float]] = {}

    async def timed(name: str, work: Callable[[], Awaitable[None]]) -> None:
        await connection.execute(_FILL, count)
        await connection.execute("VACUUM ANALYZE tasks")
        began = time.monotonic()
        await work()
        rates.setdefault(name, []).append(count / (time.monotonic() - began))

    recorded = TaskKind("empty", record=_record, at_once=AT_ONCE)
    attempted = TaskKind("empty", record=_record, attempt=_attempt, at_once=AT_ONCE)
    try:
        for _ in range(1 if quick else ROUNDS):
            await timed("bare", lambda: _bare(connection))
            await timed("recorded", lambda: _worked(database, connection, recorded))
            await timed("attempted", lambda: _worked(database, connection, attempted))
    finally:
        await connection.close()
        await database.close()
    for name, what in (
        ("recorded", "empty tasks, recorded alone"),
        ("attempted", "empty tasks, attempted and recorded"),
    ):
        met = statistics.median(rates[name]) >= RATE_AIM
        ceiling = "two bare statements, one connection"
        results.figures.append(Figure(what, "/s", rates[name], rates["bare"], ceiling, f"≥ {RATE_AIM:,}/s", met))
    return results


if __name__ == "__main__":
    sys.exit(run("tasks", "Tasks per second of one worker.", measure, seconds_max=RUN_SECONDS_MAX))
