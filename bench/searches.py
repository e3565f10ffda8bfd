"""`python -m bench.searches`: the cost of searches with ten thousand and with three million jobs of one tenant.

It writes the small number of jobs, copies the database, and writes the rest. Then each case of `bench.search_cases` requests the first
page from both databases many times, with different values. Two times are measured: the database time, which is the sum of PostgreSQL's
own durations of the request's statements (`log_duration`), and the time of the whole request. The plans of the slowest statements are
printed.
`--jobs` sets the larger number; `--quick` makes it small.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from sqlalchemy import event
from sqlalchemy.engine import make_url

from bench import job_stock
from bench.figures import Figure, Results, keep, percentile, table
from bench.search_cases import SEARCH_CASES, Sample, new_job
from bench.stage import BenchFailed, Stage, set_up
from jobs.app import create_app
from jobs.config import Settings
from shared.chassis import server
from shared.chassis.settings import load_settings
from shared.ids import from_uuid, new_id
from shared.postgres.database import plain_url
from tests.harness.waiting import eventually

SMALL, LARGE = 10_000, 3_000_000
RUN_SECONDS_MAX = 5400.0
ASKED_TIMES = 200
WARMING_TIMES = 20
ROUNDS = 3
"""Both sizes are measured in each round, so that other load of the machine affects both."""
MERCHANTS, LOCATIONS = 50, 20
GROWTH_AIM = 1.3
DATABASE_MS_AIM = 10.0
PLANS_PRINTED = 6

SHARED_BUFFERS = "10GB"
"""The size of the rows and indexes of three million jobs. Their TOAST tables take 5 GB more and are rarely read."""
READ_OFTEN = (
    "ix_jobs_of_status",
    "ix_jobs_of_type",
    "ix_jobs_of_location",
    "ix_jobs_of_merchant",
    "jobs",
    "actions",
    "ix_jobs_search",
    "ix_actions_search",
    "ix_actions_of_job",
    "ix_actions_of_tenant",
    "ix_jobs_of_tenant",
    "ix_jobs_updated",
    "ix_jobs_scheduled",
)
"""Read into the cache in this order; a later one is less likely to be evicted again."""

_SAMPLES = """
    SELECT job.*, coalesce(job.scheduled_date, job.created_at::date) AS day, action.sku, action.barcode AS action_barcode,
        action.description AS action_description
    FROM (
        SELECT id, merchant_id, location_id, reference_id, created_at, updated_at, scheduled_date, contact, address, invoices, barcodes,
            tags, metadata, short_description
        FROM jobs WHERE created_by = 'bench' ORDER BY md5(id::text) LIMIT 400
    ) AS job
    JOIN actions AS action ON action.job_id = job.id AND action.position = 1
"""

CREATED = "a job created"

_DURATION = re.compile(r"duration: ([0-9.]+) ms")

Timed = tuple[float, str, Any]
"""Duration in seconds, statement, parameters."""
NOTHING: Timed = (0.0, "", ())


@dataclass(slots=True)
class CaseCost:
    """What one case cost with one number of jobs."""

    database_ms: list[float] = field(default_factory=list)
    request_ms: list[float] = field(default_factory=list)
    rows: int = 0
    slowest: Timed = NOTHING


class StatementLog:
    """Durations of statements from PostgreSQL's log, which has them before the client has the result."""

    def __init__(self, log_file: Path):
        self._log = log_file.open(encoding="utf-8", errors="replace")
        self.slowest: Timed = NOTHING
        """The slowest statement since the last call of `take`, with the duration that the service measured."""
        self.take()

    def take(self) -> float:
        """Milliseconds of all statements since the last call."""
        self.slowest = NOTHING
        return sum(float(found) for found in _DURATION.findall(self._log.read()))

    def note(self, seconds: float, statement: str, parameters: Any) -> None:
        """Called by the service's database engine when a statement has ended."""
        self.slowest = max(self.slowest, (seconds, statement, parameters), key=lambda one: one[0])


class InProcessService:
    """The jobs service in this process, with one of the bench's databases."""

    def __init__(self, client: httpx.AsyncClient, statements: StatementLog):
        self._client = client
        self._statements = statements

    async def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str], cost: CaseCost) -> None:
        """Send a request and add its cost to `cost`. Raises `BenchFailed` for an error status."""
        self._statements.take()
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await self._client.post(path, headers=dict(headers), json=body)
        cost.request_ms.append((loop.time() - began) * 1e3)
        if answer.status_code not in (200, 201):
            raise BenchFailed(f"{path} {body}: {answer.status_code} {answer.text}")
        cost.slowest = max(cost.slowest, self._statements.slowest, key=lambda one: one[0])
        cost.database_ms.append(self._statements.take())
        cost.rows += len(answer.json().get("data", ()))


@asynccontextmanager
async def in_process_service(stage: Stage, url: str, statements: StatementLog) -> AsyncIterator[InProcessService]:
    """The jobs service in this process, with the database at `url`."""
    database_url = plain_url(stage.suite.databases["jobs"], database=make_url(url).database)
    os.environ.update({**stage.suite.environment, "JOBS_DATABASE_URL": database_url, "WAYBILL_ROLES": "api"})
    app = create_app(load_settings(Settings))
    database = app.state.edge.database
    loop = asyncio.get_running_loop()

    def before(connection: Any, *_: Any) -> None:
        connection.info["began"] = loop.time()

    def after(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.note(loop.time() - connection.info["began"], statement, parameters)

    for engine in (database.engine, database.search_engine):
        event.listen(engine.sync_engine, "before_cursor_execute", before)
        event.listen(engine.sync_engine, "after_cursor_execute", after)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://jobs", timeout=120) as client,
    ):

        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await eventually(ready, seconds=20, what="jobs answers in this process")
        yield InProcessService(client, statements)


# -- searching -------------------------------------------------------------------------------------------------------------


async def search(stage: Stage, results: Results, large: int, rounds: int, log_file: Path) -> None:
    """Run all cases with both numbers of jobs."""
    tenant = stage.tenant
    known = (await stage.merchant.at("jobs").get("/v1/auth/test")).json()
    shop = job_stock.Shop(
        tenant.id,
        [known["subject_id"], *(new_id("mer") for _ in range(MERCHANTS - 1))],
        [tenant.default_location, *(new_id("loc") for _ in range(LOCATIONS - 1))],
        livemode=known["livemode"],
    )
    staff = {**stage.suite.platform.headers, "X-Tenant-Id": tenant.id}
    for name in ("identity", "billing", "webhooks", "jobs"):
        await stage.stop(name)
    database = make_url(stage.suite.databases["jobs"]).database
    url = plain_url(stage.backing.postgres_admin_url, database=database)
    await job_stock.fill(url, shop, first=0, total=SMALL, rebuild=False)
    small_url = await _copied(stage, url)
    await job_stock.fill(url, shop, first=SMALL, total=large, rebuild=True)
    await _prepare(stage, url)
    statements = StatementLog(log_file)
    few: list[dict[str, CaseCost]] = []
    many: list[dict[str, CaseCost]] = []
    for number in range(rounds):
        few.append(await _run_cases(stage, small_url, staff, SMALL, number, statements))
        many.append(await _run_cases(stage, url, staff, large, number, statements))
    results.figures += compared(few, many, large)
    results.remarks.append(await _pages(url))
    await _print_plans(url, many)


@dataclass(frozen=True, slots=True)
class Measure:
    """One kind of time, and its aim."""

    name: str
    of: Callable[[CaseCost], Sequence[float]]
    aim: str
    met: Callable[[float, float], bool]
    """Whether the aim is met, given the time with the larger and with the smaller number of jobs."""


MEASURES = (
    Measure(
        "database time",
        lambda cost: cost.database_ms,
        f"≤ {DATABASE_MS_AIM:.0f} ms",
        lambda large, _: large <= DATABASE_MS_AIM,
    ),
    Measure(
        "the request",
        lambda cost: cost.request_ms,
        f"≤ {GROWTH_AIM} ×",
        lambda large, small: large <= GROWTH_AIM * small,
    ),
)


def compared(few: Sequence[dict[str, CaseCost]], many: Sequence[dict[str, CaseCost]], large: int) -> list[Figure]:
    """Figures of each case: p99 per round with both numbers of jobs, and whether the aim is met."""
    figures = []
    for name in few[0]:
        rows, more_rows = (sum(one[name].rows for one in rounds) / len(rounds) / ASKED_TIMES for rounds in (few, many))
        against = f"at {SMALL:,}" + (f"; {rows:.0f} rows, not {more_rows:.0f}" if rows < 0.9 * more_rows else "")
        for measure in MEASURES:
            small, values = ([percentile(measure.of(one[name]), 0.99) for one in rounds] for rounds in (few, many))
            met = measure.met(statistics.median(values), statistics.median(small))
            label = f"{name}, p99 of {measure.name} at {large:,}"
            figures.append(Figure(label, "ms", values, small, against, measure.aim, met))
    return figures


async def _copied(stage: Stage, url: str) -> str:
    """Copy the database under another name; returns its URL."""
    source = make_url(url)
    name = f"{source.database}_small"
    connection = await asyncpg.connect(stage.backing.postgres_admin_url)
    await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source.database}"')
    await connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO "{source.database}"')
    await connection.close()
    copied = plain_url(url, database=name)
    connection = await asyncpg.connect(copied)
    await connection.execute("VACUUM (ANALYZE)")
    await connection.close()
    return copied


async def _prepare(stage: Stage, url: str) -> None:
    """Restart PostgreSQL with a large cache and with logged durations, and fill the cache."""
    connection = await asyncpg.connect(stage.backing.postgres_admin_url)
    await connection.execute(f"ALTER SYSTEM SET shared_buffers = '{SHARED_BUFFERS}'")
    await connection.execute("ALTER SYSTEM SET log_duration = on")
    await connection.close()
    await asyncio.to_thread(stage.backing.stop_postgres)
    await asyncio.to_thread(stage.backing.restart_postgres)
    connection = await asyncpg.connect(url, command_timeout=600)
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
    for name in READ_OFTEN:
        await connection.execute("SELECT pg_prewarm($1::text::regclass)", name)
    await connection.close()


async def _run_cases(
    stage: Stage, url: str, staff: Mapping[str, str], total: int, number: int, statements: StatementLog
) -> dict[str, CaseCost]:
    """One round of all cases; each round uses other sample jobs."""
    found: dict[str, CaseCost] = {}
    samples = await _samples(url)
    first = number * ASKED_TIMES // 2
    async with in_process_service(stage, url, statements) as service:
        # As `serve` does.
        server.settle_memory()
        for case in SEARCH_CASES:
            headers = stage.merchant.headers if case.own else staff
            cost = found[case.name] = CaseCost()
            for place in range(first, first + WARMING_TIMES + ASKED_TIMES):
                path, body = case.request(samples[place % len(samples)])
                await service.post(path, body, headers, cost if place >= first + WARMING_TIMES else CaseCost())
            if case.finds and not cost.rows:
                raise BenchFailed(f"{case.name}: nothing was found")
            _say(f"{total:>9,} {case.name:<36} {_shown(cost)}, {cost.rows / ASKED_TIMES:.0f} rows")
        cost = found[CREATED] = CaseCost()
        for place in range(WARMING_TIMES + ASKED_TIMES):
            body = new_job(total + number * 1000 + place)
            await service.post("/v1/jobs", body, stage.merchant.headers, cost if place >= WARMING_TIMES else CaseCost())
        _say(f"{total:>9,} {CREATED:<36} {_shown(cost)}")
    return found


def _shown(cost: CaseCost) -> str:
    database_ms, request_ms = (
        f"p50 {percentile(each, 0.5):7.2f} p99 {percentile(each, 0.99):7.2f}"
        for each in (cost.database_ms, cost.request_ms)
    )
    return f"{database_ms} ms in the database, {request_ms} ms in all"


async def _samples(url: str) -> list[Sample]:
    """A random sample of the stored jobs."""
    connection = await asyncpg.connect(url)
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    rows = await connection.fetch(_SAMPLES)
    await connection.close()
    return [
        {
            **row,
            "location": from_uuid("loc", row["location_id"]),
            "merchant": from_uuid("mer", row["merchant_id"]),
            "created_at": row["created_at"].isoformat(),
            "updated_at": row["updated_at"].isoformat(),
            "day": row["day"].isoformat(),
        }
        for row in rows
    ]


async def _pages(url: str) -> str:
    connection = await asyncpg.connect(url)
    huge = await connection.fetchval("SHOW huge_pages_status") == "on"
    await connection.close()
    return f"PostgreSQL's memory was mapped by {'huge' if huge else 'small'} pages."


async def _print_plans(url: str, many: Sequence[Mapping[str, CaseCost]]) -> None:
    """Print the plans of the slowest statements."""
    connection = await asyncpg.connect(url)
    grown = [(name, cost) for one in many for name, cost in one.items()]
    slowest = sorted(grown, key=lambda one: percentile(one[1].database_ms, 0.99), reverse=True)[:PLANS_PRINTED]
    for name, cost in slowest:
        seconds, statement, parameters = cost.slowest
        sys.stdout.write(f"\n{name}: {seconds * 1e3:.1f} ms\n")
        if statement.lstrip().upper().startswith(("SELECT", "WITH")) and "INSERT" not in statement:
            plan = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", *parameters)
            sys.stdout.write("\n".join(f"    {row[0]}" for row in plan) + "\n")
    await connection.close()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


# -- all of it -------------------------------------------------------------------------------------------------------------


async def measure(large: int, *, quick: bool) -> Results:
    """Run the whole bench on a stage of its own."""
    results = Results(quick)
    with tempfile.TemporaryDirectory(prefix="waybill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        async with set_up(home) as stage:
            await search(stage, results, large, 1 if quick else ROUNDS, home / "postgres.log")
    return results


async def _run(large: int, *, quick: bool) -> Results:
    # However the run is ended, its processes are.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(RUN_SECONDS_MAX):
        return await measure(large, quick=quick)


def main() -> int:
    """Run the bench. Returns 0 when everything was measured, also when an aim is not met."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.searches", description="The cost of searches among millions of jobs."
    )
    parser.add_argument("--jobs", type=int, default=LARGE, help="the larger number of jobs of one tenant")
    parser.add_argument("--quick", action="store_true", help="one short round, at most 50,000 jobs")
    arguments = parser.parse_args()
    large = min(arguments.jobs, 50_000) if arguments.quick else arguments.jobs
    results = asyncio.run(_run(large, quick=arguments.quick))
    keep(results, "searches")
    sys.stdout.write(table(results) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
