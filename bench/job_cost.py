"""`python -m bench.job_cost`: what one job, and one page of a list, costs, stage by stage.

Processor time comes from the operating system's accounts, its stages from samples (`bench.sampled`) in a run of their own, the write-ahead
log by table and index from PostgreSQL itself (`pg_walinspect`).
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import asyncpg
import psutil
from sqlalchemy.engine import make_url

from bench.cpu import Usage
from bench.figures import Figure, Results, keep, percentile, table
from bench.stage import ALL_ROLES, ANSWER_SECONDS, Stage, pid_of, set_up
from deploy.devstack.forks import ROOT
from shared.postgres.database import plain_url
from tests.harness.waiting import eventually

RUN_SECONDS_MAX = 480.0
SECONDS = 5.0
RATE = 200
LISTS = {
    "limit=1": "/v1/jobs?limit=1",
    "50 newest": "/v1/jobs",
    "q=": "/v1/jobs?q=sherbrooke",
    "one job by its id": "",
}
IDLE_SECONDS = 20.0
PLACES = 12

_WAL_BY_RELATION = """
    SELECT coalesce(c.relname, 'other') AS relation, sum(block.share)::float AS bytes
    FROM (
        SELECT relfilenode, reldatabase, record_length::numeric / count(*) OVER (PARTITION BY start_lsn) AS share
        FROM pg_get_wal_block_info($1, $2)
    ) AS block
    LEFT JOIN pg_class AS c ON c.relfilenode = block.relfilenode
        AND block.reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY 1 ORDER BY 2 DESC
"""
_TABLE_OF = """
    SELECT c.relname AS name, coalesce(i.indrelid::regclass::text, owner.relname, c.relname) AS owner FROM pg_class AS c
    LEFT JOIN pg_index AS i ON i.indexrelid = c.oid LEFT JOIN pg_class AS owner ON owner.reltoastrelid = c.oid
"""


async def created_and_delivered(stage: Stage, results: Results, rounds: int, seconds: float) -> None:
    """Processor time of all processes per job, and the write-ahead log by table and index."""
    await stage.send("closed", seconds=1.5)
    await stage.sink.ask("wait", seconds=ANSWER_SECONDS, count=10**9, patience_seconds=1.0)
    await stage.sink.ask("take", seconds=ANSWER_SECONDS)
    rates, log_bytes, usages = [], [], []
    for _ in range(rounds):
        before, account = await stage.written(), stage.account()
        sent = await stage.send("closed", seconds=seconds)
        arrived = await stage.arrived(sent["sent"])
        usages.append(account.usage().per_operation_us(sent["sent"]))
        after = await stage.written()
        rates.append(sent["sent"] / ((max(arrived["first_ns"].values()) - sent["begun_ns"]) / 1e9))
        log_bytes.append((after[1] - before[1]) / sent["sent"])
    results.figures += [
        Figure("processor per job created and delivered, all processes", "µs", [usage["total"] for usage in usages]),
        Figure("jobs created and delivered", "/s", rates),
        Figure("write-ahead log per job", "bytes", log_bytes),
    ]
    results.costs_us["job created and delivered"] = _median(usages)
    results.tables.append(await _log_by_relation(stage, before[1], after[1], sent["sent"]))


async def _log_by_relation(stage: Stage, begin: int, end: int, jobs: int) -> str:
    database = make_url(stage.suite.databases["jobs"]).database
    connection = await asyncpg.connect(plain_url(stage.backing.postgres_admin_url, database=database))
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        bounds = [
            await connection.fetchval("SELECT '0/0'::pg_lsn + $1::numeric", position) for position in (begin, end)
        ]
        found = await connection.fetch(_WAL_BY_RELATION, *bounds)
        owners = {row["name"]: row["owner"] for row in await connection.fetch(_TABLE_OF)}
    finally:
        await connection.close()
    lines = ["| write-ahead log | of | bytes per job |", "|---|---|--:|"]
    lines += [
        f"| {row['relation']} | {owners.get(row['relation'], '')} | {row['bytes'] / jobs:,.0f} |"
        for row in found
        if row["bytes"] >= jobs
    ]
    return "\n".join(lines)


async def alone(stage: Stage, results: Results, seconds: float) -> None:
    """`POST` at a rate that nothing presses on."""
    await stage.send("open", seconds=1.0, rate=RATE)
    account = stage.account()
    sent = await stage.send("open", seconds=seconds, rate=RATE)
    await stage.sink.ask("wait", seconds=ANSWER_SECONDS, count=10**9, patience_seconds=1.0)
    await stage.sink.ask("take", seconds=ANSWER_SECONDS)
    results.costs_us[f"at {RATE} jobs/s"] = account.usage().per_operation_us(sent["sent"])
    answered_ms = [ns / 1e6 for ns in sent["latencies_ns"]]
    results.figures += [
        Figure(f"POST at {RATE}/s, p{share * 100:.0f}", "ms", [percentile(answered_ms, share)]) for share in (0.5, 0.99)
    ]


async def read(stage: Stage, results: Results, rounds: int, seconds: float) -> None:
    """Pages of lists, read as a merchant, from one process with the role `api`."""
    await stage.run_as("jobs", "api")
    for name, path in LISTS.items():
        paths = [path or f"/v1/jobs/{stage.sample['job_id']}"]
        await stage.send("closed", seconds=0.5, paths=paths)
        rates: list[float] = []
        usages: list[Mapping[str, float]] = []
        for _ in range(rounds):
            account = stage.account("jobs")
            sent = await stage.send("closed", seconds=seconds, paths=paths)
            usages.append(account.usage().per_operation_us(sent["sent"]))
            rates.append(sent["sent"] / sent["seconds"])
        results.figures.append(Figure(f"list {name}" if path else name, "/s", rates))
        results.costs_us[f"list {name}" if path else name] = _median(usages)


async def stages(stage: Stage, results: Results, seconds: float) -> None:
    """The jobs process's own time by stage, scaled to what the accounts of the sampled run say."""
    samples = stage.home / "samples.json"
    shares: dict[str, Mapping[str, float]] = {}
    places: list[str] = []
    await _run_sampled(stage, samples, ALL_ROLES)
    for name, paths in {"job": [], **{f"list {name}": [path] for name, path in LISTS.items() if path}}.items():
        await stage.send("closed", seconds=1.0, paths=paths)
        await _take_samples(stage, samples)
        account = stage.account("jobs")
        sent = await stage.send("closed", seconds=seconds, paths=paths)
        usage: Usage = account.usage()
        taken = await _take_samples(stage, samples)
        total = sum(taken["stages"].values()) or 1
        own_us = usage.per_operation_us(sent["sent"])["jobs"]
        shares[name] = {one: own_us * count / total for one, count in taken["stages"].items()}
        top = sorted(taken["places"].items(), key=lambda item: -item[1])[:PLACES]
        listed = ", ".join(f"`{place}` {count / total:.0%}" for place, count in top)
        places.append(f"Where most of the samples of {name} were: {listed}.")
    names = sorted({one for found in shares.values() for one in found}, key=lambda one: -shares["job"].get(one, 0))
    lines = [f"| processor µs of the jobs process | {' | '.join(shares)} |", "|---|" + "--:|" * len(shares)]
    lines += [f"| {one} | {' | '.join(f'{found.get(one, 0):,.0f}' for found in shares.values())} |" for one in names]
    lines.append(f"| all | {' | '.join(f'{sum(found.values()):,.0f}' for found in shares.values())} |")
    results.tables.append("\n".join(lines))
    results.remarks += places


async def _run_sampled(stage: Stage, samples: Path, roles: str) -> None:
    await stage.stop("jobs")
    process = stage.suite.processes["jobs"]
    sampled = {"BENCH_SAMPLED": "jobs", "BENCH_SAMPLES": str(samples), "WAYBILL_ROLES": roles}
    environment = {**stage.suite.environment, **sampled}
    process = replace(process, name="bench.sampled", environment=environment, popen=None)
    stage.suite.processes["jobs"] = process
    process.start()
    await process.ready()


async def _take_samples(stage: Stage, samples: Path) -> dict[str, dict[str, int]]:
    samples.unlink(missing_ok=True)
    psutil.Process(pid_of(stage.suite, "jobs")).send_signal(signal.SIGUSR1)
    await eventually(samples.exists, what="the samples are written")
    found: dict[str, dict[str, int]] = json.loads(samples.read_text())
    return found


async def idle(stage: Stage, results: Results, seconds: float) -> None:
    """What the suite costs when nobody asks for anything."""
    account = stage.account()
    await asyncio.sleep(seconds)
    usage = account.usage()
    own = [name for name in usage.seconds if name in stage.suite.processes]
    percent = {name: usage.seconds[name] / seconds * 100 for name in usage.seconds}
    listed = ", ".join(f"{name} {percent[name]:.1f}" for name in (*own, "postgres", "kafka"))
    results.figures.append(
        Figure("idle suite, its Python processes together, of one core", "%", [sum(percent[name] for name in own)])
    )
    results.remarks.append(f"Idle, % of one core: {listed}.")


async def start(stage: Stage, results: Results, rounds: int) -> None:
    """From the start of the jobs process until it is ready, and its imports alone."""
    ready, imports = [], []
    for _ in range(rounds):
        await stage.stop("jobs")
        began = time.monotonic()
        await stage.run_as("jobs", ALL_ROLES)
        ready.append(time.monotonic() - began)
        began = time.monotonic()
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", "import jobs.app"], cwd=ROOT, check=True)
        imports.append(time.monotonic() - began)
    results.figures += [
        Figure("jobs: from its start until it is ready", "s", ready),
        Figure("jobs: its imports", "s", imports),
    ]


def _median(usages: Sequence[Mapping[str, float]]) -> dict[str, float]:
    ordered = sorted(usages, key=lambda usage: usage["total"])
    return dict(ordered[len(ordered) // 2])


async def measure(*, quick: bool, only: Sequence[str]) -> Results:
    """Run what is asked for on a stage of its own."""
    results = Results(quick)
    rounds, seconds = (1, 2.0) if quick else (3, SECONDS)
    parts: dict[str, Callable[[Stage], Awaitable[None]]] = {
        "idle": lambda stage: idle(stage, results, IDLE_SECONDS / (2 if quick else 1)),
        "job": lambda stage: created_and_delivered(stage, results, rounds, seconds),
        "alone": lambda stage: alone(stage, results, seconds),
        "start": lambda stage: start(stage, results, rounds),
        "lists": lambda stage: read(stage, results, rounds, seconds / 2),
        "stages": lambda stage: stages(stage, results, seconds),
    }
    with tempfile.TemporaryDirectory(prefix="waybill-bench-", ignore_cleanup_errors=True) as folder:
        async with set_up(Path(folder)) as stage:
            for name, part in parts.items():
                if not only or name in only:
                    await part(stage)
    return results


async def _run(*, quick: bool, only: Sequence[str]) -> Results:
    # However the run is ended, its processes are.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(RUN_SECONDS_MAX):
        return await measure(quick=quick, only=only)


def main() -> int:
    """Run the bench. Returns 0 when everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.job_cost", description="What a job and a page cost.")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--only", default="", help="parts, comma-separated: idle, job, alone, start, lists, stages")
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    results = asyncio.run(_run(quick=given.quick or bool(only), only=only))
    keep(results, "job_cost")
    sys.stdout.write(table(results) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
