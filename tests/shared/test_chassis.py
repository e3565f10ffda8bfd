"""An application with HTTP alone: its parts, its health, its routes, and neither a database nor Kafka."""

import asyncio
import subprocess
import sys

import httpx

from shared.chassis.app import create_app
from shared.chassis.health import NotReady
from shared.chassis.parts import Part
from shared.chassis.settings import ProcessSettings
from shared.observability.metrics import Metrics


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


def test_the_chassis_loads_neither_a_database_driver_nor_kafka() -> None:
    program = "import sys, shared.chassis.app, shared.chassis.server, shared.chassis.command_line; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert {"sqlalchemy", "asyncpg", "aiokafka", "faststream"}.isdisjoint(loaded)
