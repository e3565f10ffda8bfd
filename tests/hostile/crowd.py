"""A crowd of bad clients, kind by kind, and what a good one feels of it; for a measurement by hand, not collected by pytest.

    python -m tests.hostile.crowd [--connections 2000] [--seconds 60] [KIND...]

Aims: the good client's 95th percentile grows to three times at most, the memory of the process by 64 MiB at most. The crowd comes from
several loopback addresses, so that no share of one address keeps it away, and from a process of its own. The server has one processor for
itself, if there are two: a real crowd has machines of its own, and does not compete for the server's.
"""

import argparse
import asyncio
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.harness.edge_app import edge_database
from tests.harness.edge_process import EdgeProcess, run_edge_process
from tests.harness.raw_http import connected, request
from tests.harness.stack import start_backing_stack

ADDRESSES = 8
"""Loopback addresses from which the crowd comes."""
PAUSE_SECONDS = 1.0
GOOD_RATE_PER_SECOND = 50
RATIO_MAX = 3.0
GROWTH_MAX_BYTES = 64 * 1024 * 1024
HEAD = request("/v1/hello")[:-2]

KINDS = ("silent", "head", "value", "body", "trailer", "early body", "pipeline", "unread")


def beginning(kind: str, credentials: Sequence[str]) -> bytes:
    """What each client of this kind sends at once."""
    post = request("/v1/notes", *credentials, "Content-Type: application/json", method="POST")[:-2]
    return {
        "silent": b"",
        "head": HEAD,
        "value": HEAD + b"X: " + b"a" * 31_000,
        "body": post + b"Content-Length: 200000\r\n\r\n" + b" " * 60_000,
        "trailer": post + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n",
        "early body": request("/v1/notes", "Content-Length: 100", method="POST") + b"{",
        "pipeline": request("/v1/hello") * 2_000,
        "unread": request("/openapi.json") * 16,
    }[kind]


def dribble(kind: str) -> bytes:
    """What it sends every second after that."""
    return {"head": b"X: a\r\n", "trailer": b"X: a\r\n", "unread": request("/openapi.json")}.get(kind, b"a")


async def misbehave(kind: str, port: int, source: str, credentials: Sequence[str], ends_at: float) -> None:
    """One client, which comes back when it is thrown out."""
    while time.monotonic() < ends_at:
        with suppress(OSError, TimeoutError):
            async with (
                connected(port, source=source) as connection,
                asyncio.timeout(max(0.0, ends_at - time.monotonic())),
            ):
                await connection.send(beginning(kind, credentials))
                while not connection.is_closed:
                    await asyncio.sleep(PAUSE_SECONDS)
                    if kind != "silent":
                        await connection.send(dribble(kind))
        await asyncio.sleep(PAUSE_SECONDS)


async def crowd(kind: str, port: int, connections: int, seconds: float, credentials: Sequence[str]) -> None:
    ends_at = time.monotonic() + seconds
    sources = [f"127.0.1.{number % ADDRESSES + 1}" for number in range(connections)]
    await asyncio.gather(*(misbehave(kind, port, source, credentials, ends_at) for source in sources))


async def behave(edge: EdgeProcess, seconds: float) -> float:
    """The 95th percentile of a good client's waiting, in seconds; what fails counts as a wait without end."""
    waits: list[float] = []
    question = request("/v1/notes", *edge.credentials)
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        async with connected(edge.port) as connection:
            while time.monotonic() < ends_at:
                began = time.perf_counter()
                try:
                    await connection.send(question)
                    status = (await connection.answer()).status
                except (OSError, EOFError, TimeoutError):
                    status = 0
                waits.append(time.perf_counter() - began if status == 200 else math.inf)
                if status == 0:
                    break
                await asyncio.sleep(1 / GOOD_RATE_PER_SECOND)
    return sorted(waits)[int(len(waits) * 0.95)]


async def measure(edge: EdgeProcess, kind: str, connections: int, seconds: float, usual: float) -> bool:
    """Whether the process stood one kind within the aims."""
    process = psutil.Process(edge.program.pid)
    before = process.memory_info().rss
    command = [
        sys.executable,
        "-m",
        "tests.hostile.crowd",
        "--connections",
        str(connections),
        "--seconds",
        str(seconds),
    ]
    others = subprocess.Popen([*command, "--port", str(edge.port), kind, "--", *edge.credentials])
    peak = before
    try:
        good = asyncio.create_task(behave(edge, seconds))
        while not good.done():
            peak = max(peak, process.memory_info().rss)
            await asyncio.wait([good], timeout=0.2)
        p95 = good.result()
    finally:
        others.kill()
        others.wait()
    ratio, growth = p95 / usual, peak - before
    sys.stdout.write(f"{kind:12} p95 {p95 * 1000:8.1f} ms  {ratio:5.1f} x alone   memory {growth / 2**20:+7.1f} MiB\n")
    return ratio <= RATIO_MAX and growth <= GROWTH_MAX_BYTES


def give_processor(pid: int, processors: set[int]) -> None:
    """Have all threads of a process run on these processors."""
    for thread in psutil.Process(pid).threads():
        os.sched_setaffinity(thread.id, processors)


async def main(kinds: Sequence[str], connections: int, seconds: float) -> int:
    first, *others = sorted(os.sched_getaffinity(0))
    give_processor(os.getpid(), set(others) or {first})  # and so all that it starts
    with tempfile.TemporaryDirectory() as folder:
        backing = start_backing_stack(Path(folder))
        try:
            url = await edge_database(backing)
            within = []
            for kind in kinds:
                # Each kind meets a new process, and a session whose token lasts for as long.
                async with run_edge_process(url, Path(folder), None) as edge:
                    give_processor(edge.program.pid, {first})
                    await behave(edge, 2)
                    usual = await behave(edge, min(seconds, 10))
                    within.append(await measure(edge, kind, connections, seconds, usual))
        finally:
            backing.stop()
    return 0 if all(within) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--port", type=int, help="be the crowd: a kind, --, header lines")
    asked = parser.parse_args()
    if asked.port:
        # A real crowd has machines of its own: this one takes what the others leave of the processors.
        os.nice(19)
        kind, *credentials = asked.kinds
        asyncio.run(crowd(kind, asked.port, asked.connections, asked.seconds, credentials))
    else:
        sys.exit(asyncio.run(main(asked.kinds or KINDS, asked.connections, asked.seconds)))
