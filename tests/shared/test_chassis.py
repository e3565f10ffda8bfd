"""Applications that are made of fewer parts than a service: with HTTP alone, and with HTTP and a database."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.chassis.app import create_app
from shared.chassis.health import NotReady, named
from shared.chassis.parts import Part
from shared.chassis.settings import ProcessSettings
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.tasks import Attempted, NewTask, TaskKind, TaskWorker, schedule
from tests.harness.stack import BackingStack
from tests.harness.transport import database_with_shared_tables
from tests.harness.waiting import eventually


async def test_an_app_without_a_database_is_made_of_the_chassis_alone() -> None:
    begun = asyncio.Event()
    ended: list[str] = []

    async def part() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("part")

    async def ready() -> None:
        if not begun.is_set():
            raise NotReady("the part has not begun")

    async def after() -> None:
        ended.append("app")

    settings = ProcessSettings(port=1, roles="api")
    metrics = Metrics("console")
    parts = [Part("part", part), Part("of another role", part, role="worker")]
    app = create_app(
        name="console",
        description="A console.",
        settings=settings,
        metrics=metrics,
        parts=parts,
        checks=[ready],
        after=after,
    )

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://console") as client:
        before = await client.get("/readyz")
        async with app.router.lifespan_context(app):
            await begun.wait()
            answers = [await client.get(path) for path in ("/readyz", "/livez", "/metrics", "/hello")]
        afterwards = await client.get("/readyz")

    assert (before.status_code, before.json()["reason"]) == (503, "the part has not begun")
    assert [answer.status_code for answer in answers] == [200] * 4
    assert (afterwards.status_code, afterwards.json()["reason"]) == (503, "draining")
    assert ended == ["part", "app"]


async def test_an_app_with_http_and_a_database_works_on_tasks_without_kafka(backing: BackingStack) -> None:
    database = Database(await database_with_shared_tables(backing), application_name="console")
    metrics = Metrics("console")
    greeted: list[str] = []

    async def greet(session: AsyncSession, attempted: Sequence[Attempted]) -> None:
        greeted.extend(one.task.key for one in attempted)

    worker = TaskWorker(database, [TaskKind("greeting", record=greet)], metrics)
    app = create_app(
        name="console",
        description="A console.",
        settings=ProcessSettings(port=1, roles="api,worker"),
        metrics=metrics,
        parts=[Part("tasks", worker.run, role="worker")],
        checks=[named("database", database.ping)],
        after=database.close,
    )

    @app.post("/greetings/{name}")
    async def greet_later(name: str) -> int:
        async with database.transaction() as session:
            await schedule(session, [NewTask("greeting", name)])
            return int((await session.execute(text("SELECT count(*) FROM tasks"))).scalar_one())

    transport = httpx.ASGITransport(app)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://console") as client,
        app.router.lifespan_context(app),
    ):
        ready, written = await client.get("/readyz"), await client.post("/greetings/ada")
        await eventually(lambda: greeted == ["ada"], what="the task is done")

    assert (ready.status_code, written.status_code, written.json()) == (200, 200, 1)
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_database_and_tasks_load_no_kafka() -> None:
    program = "import sys, shared.chassis.server, shared.postgres.database, shared.tasks; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert {"aiokafka", "faststream"}.isdisjoint(loaded)


def test_the_chassis_loads_neither_a_database_driver_nor_kafka() -> None:
    program = "import sys, shared.chassis.app, shared.chassis.server, shared.chassis.command_line; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert {"sqlalchemy", "asyncpg", "aiokafka", "faststream"}.isdisjoint(loaded)
