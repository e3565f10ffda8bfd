"""`python -m bench.jobs`: rates of creating jobs and of reading jobs by id, compared with a bare ASGI app that runs the same SQL."""

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.figures import Figure, Results, keep, table
from bench.stage import ANSWER_SECONDS, Stage, set_up

RUN_SECONDS_MAX = 420.0
ROUNDS = 3
LOAD_SECONDS = 4.0
SHARE_AIM = 0.5
READ_IDS = 5_000


async def create_and_read(stage: Stage, results: Results, rounds: int, seconds: float) -> None:
    """Measure both, alternating with the bare app. The jobs service runs in one process with the role `api`."""
    await stage.run_as("jobs", "api")
    rates: dict[str, list[float]] = {}

    async def measure(name: str, **how: Any) -> Sequence[str]:
        await stage.send("closed", seconds=0.5, **how)
        sent = await stage.send("closed", seconds=seconds, **how)
        rates.setdefault(name, []).append(sent["sent"] / sent["seconds"])
        return list(sent["answered_ns"])

    for _ in range(rounds):
        await measure("create: bare", port=stage.ceiling_port)
        bare_ids = (await stage.ceilings.ask("ids", seconds=ANSWER_SECONDS, count=READ_IDS))["ids"]
        ids = await measure("create")
        await measure("create: keyed", keyed=True)
        await measure("read: bare", port=stage.ceiling_port, paths=[f"/v1/jobs/{one}" for one in bare_ids])
        await measure("read", paths=[f"/v1/jobs/{one}" for one in ids])
    for name, what, ceiling in (
        ("create", "jobs created, no key", "create: bare"),
        ("create: keyed", "jobs created with an Idempotency-Key", "create: bare"),
        ("read", "jobs read by id", "read: bare"),
    ):
        share = statistics.median(rates[name]) / statistics.median(rates[ceiling])
        results.figures.append(
            Figure(
                what, "/s", rates[name], rates[ceiling], "bare ASGI, same SQL", f"≥ {SHARE_AIM:.0%}", share >= SHARE_AIM
            )
        )


async def measure(*, quick: bool) -> Results:
    """Run the whole bench on a stage of its own."""
    results = Results(quick)
    with tempfile.TemporaryDirectory(prefix="waybill-bench-", ignore_cleanup_errors=True) as folder:
        async with set_up(Path(folder)) as stage:
            await create_and_read(stage, results, 1 if quick else ROUNDS, 1.0 if quick else LOAD_SECONDS)
    return results


async def _run(*, quick: bool) -> Results:
    # However the run is ended, its processes are.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(RUN_SECONDS_MAX):
        return await measure(quick=quick)


def main() -> int:
    """Run the bench. Returns 0 when everything was measured, also when an aim is not met."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.jobs", description="Rates of creating and reading single jobs."
    )
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    results = asyncio.run(_run(quick=parser.parse_args().quick))
    keep(results, "jobs")
    sys.stdout.write(table(results) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
