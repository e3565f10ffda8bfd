"""`python -m bench.files`: imports and exports a file of a million jobs, and measures the memory of the jobs service.

The bench generates the file while it sends it and counts lines while it receives, so that neither side holds the file. Memory is the
resident set size of the service's process, sampled five times a second.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil

from bench.figures import Figure, Results, keep, table
from bench.stage import ALL_ROLES, BenchFailed, Stage, pid_of, set_up
from tests.harness.bodies import smallest_job

ROWS = 1_000_000
RUN_SECONDS_MAX = 3600.0
LOOK_SECONDS = 0.2
POLL_SECONDS = 1.0
PIECE_ROWS = 500
MEBIBYTE = 1024 * 1024
MEMORY_MIB_AIM = 150.0
ACCEPTED = 202
FORMATS = ("ndjson", "csv")


class Memory:
    """The largest resident set size of a process since this object was made, in MiB."""

    def __init__(self, process: psutil.Process):
        self._process = process
        self.at_rest_mib = self.peak_mib = self._now()

    def _now(self) -> float:
        return float(self._process.memory_info().rss) / MEBIBYTE

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            self.peak_mib = max(self.peak_mib, self._now())
            await asyncio.sleep(LOOK_SECONDS)


async def lines(rows: int) -> AsyncIterator[bytes]:
    """The NDJSON file, 500 lines at a time."""
    for first in range(0, rows, PIECE_ROWS):
        some = (
            smallest_job(
                reference_id=f"FILE{number:08d}", tags=["bulk"], actions=[{"description": "Sofa", "sku": "S-100"}]
            )
            for number in range(first, min(rows, first + PIECE_ROWS))
        )
        yield "".join(json.dumps(one) + "\n" for one in some).encode()


async def import_file(stage: Stage, client: httpx.AsyncClient, rows: int) -> float:
    """Import a file; returns the seconds from the first byte sent to the last job created."""
    began = time.monotonic()
    headers = {**stage.merchant.headers, "Content-Type": "application/x-ndjson"}
    sent = await client.post("/v1/job-imports", content=lines(rows), headers=headers)
    if sent.status_code != ACCEPTED:
        raise BenchFailed(f"the file was not accepted: {sent.status_code} {sent.text}")
    _say(f"sent in {time.monotonic() - began:.0f} s")
    while True:
        found = (await client.get(f"/v1/job-imports/{sent.json()['id']}", headers=stage.merchant.headers)).json()
        if found["status"] not in ("queued", "running"):
            break
        await asyncio.sleep(POLL_SECONDS)
    if (found["status"], found["jobs_created"]) != ("succeeded", rows):
        raise BenchFailed(f"not all rows were imported: {found}")
    return time.monotonic() - began


async def export_file(stage: Stage, client: httpx.AsyncClient, kind: str) -> tuple[int, float]:
    """Export all jobs; returns the number of lines and the seconds."""
    began, count = time.monotonic(), 0
    async with client.stream("GET", f"/v1/job-exports?format={kind}", headers=stage.merchant.headers) as answer:
        answer.raise_for_status()
        async for piece in answer.aiter_bytes():
            count += piece.count(b"\n")
    return count, time.monotonic() - began


async def measure(rows: int) -> Results:
    """Import, then export in both formats, each with a newly started process."""
    results = Results(quick=rows < ROWS)
    with tempfile.TemporaryDirectory(prefix="waybill-bench-", ignore_cleanup_errors=True) as folder:
        async with set_up(Path(folder)) as stage:
            await stage.stop("webhooks")
            async with httpx.AsyncClient(base_url=stage.suite.urls["jobs"], timeout=None, trust_env=False) as client:
                await stage.run_as("jobs", ALL_ROLES)
                memory = Memory(psutil.Process(pid_of(stage.suite, "jobs")))
                watching = asyncio.create_task(memory.watch())
                seconds = await import_file(stage, client, rows)
                watching.cancel()
                _add(results, f"import of {rows:,} lines", memory, rows / seconds)
                for kind in FORMATS:
                    await stage.run_as("jobs", ALL_ROLES)
                    memory = Memory(psutil.Process(pid_of(stage.suite, "jobs")))
                    watching = asyncio.create_task(memory.watch())
                    count, seconds = await export_file(stage, client, kind)
                    watching.cancel()
                    if count < rows:
                        raise BenchFailed(f"{count} of {rows} jobs were exported")
                    _add(results, f"export of {rows:,} jobs as {kind}", memory, count / seconds)
    return results


def _add(results: Results, what: str, memory: Memory, rate: float) -> None:
    met = memory.peak_mib <= MEMORY_MIB_AIM
    results.figures += [
        Figure(f"{what}, most memory", "MiB", [memory.peak_mib], aim=f"≤ {MEMORY_MIB_AIM:.0f}", met=met),
        Figure(f"{what}, memory before", "MiB", [memory.at_rest_mib]),
        Figure(what, "rows/s", [rate]),
    ]
    _say(f"{what}: {memory.at_rest_mib:.0f} → {memory.peak_mib:.0f} MiB, {rate:,.0f}/s")


async def _run(rows: int) -> Results:
    # However the run is ended, its processes are.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(RUN_SECONDS_MAX):
        return await measure(rows)


def main() -> int:
    """Run the bench. Returns 0 when everything was measured, also when an aim is not met."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.files", description="Imports and exports of a million jobs, and their memory."
    )
    parser.add_argument("--rows", type=int, default=ROWS, help="lines of the file")
    results = asyncio.run(_run(parser.parse_args().rows))
    keep(results, "files")
    sys.stdout.write(table(results) + "\n")
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
