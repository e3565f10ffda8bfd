"""What the programs have in common that measure one thing on a private PostgreSQL and Kafka."""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from bench.figures import Results, keep, table
from tests.harness.stack import BackingStack, start_private_stack


class Measure(Protocol):
    """What is measured, on these servers."""

    def __call__(self, backing: BackingStack, *, quick: bool) -> Awaitable[Results]: ...


async def _run(measure: Measure, *, quick: bool, seconds_max: float) -> Results:
    # However the run is ended, its processes are.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="waybill-bench-", ignore_cleanup_errors=True) as folder:
        backing = start_private_stack(Path(folder) / "stack")
        try:
            async with asyncio.timeout(seconds_max):
                return await measure(backing, quick=quick)
        finally:
            backing.stop()


def run(
    name: str,
    description: str,
    measure: Measure,
    *,
    seconds_max: float,
    loop: Callable[..., Results] = asyncio.run,
) -> int:
    """Run the bench of this name. Returns 0 when everything was measured, also when an aim is not met."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help="less of everything, one round")
    results = loop(_run(measure, quick=parser.parse_args().quick, seconds_max=seconds_max))
    keep(results, name)
    sys.stdout.write(table(results) + "\n")
    return 0
