"""`make bench`: the whole pipeline under load, on this machine alone, in about four minutes (`--quick`: one).

Prints each figure beside its ceiling and its aim, and keeps them in `results/pipeline.json` and `README.md`.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import phases
from bench.figures import Results, keep, table
from bench.stage import set_up

RUN_SECONDS_MAX = 420.0


async def measure(plan: phases.Plan, *, quick: bool) -> Results:
    """All phases on a stage of their own."""
    results = Results(quick)
    rounds = phases.Rounds()
    with tempfile.TemporaryDirectory(prefix="waybill-bench-", ignore_cleanup_errors=True) as folder:
        _say("starting PostgreSQL, Kafka, four services, generator and receiver")
        async with set_up(Path(folder)) as stage:
            _say("revocation")
            await phases.revocation(stage, plan, results)
            _say("latency at fixed rates")
            await phases.latency(stage, plan, results)
            _say("created and delivered")
            await phases.end_to_end(stage, plan, results, rounds)
            _say("accepting, relaying and delivering, each alone")
            await phases.parts(stage, plan, rounds)
            _say("stopping")
    phases.conclude(results, rounds)
    return results


async def _run(plan: phases.Plan, *, quick: bool) -> Results:
    # However the run is ended, its processes are.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(RUN_SECONDS_MAX):
        return await measure(plan, quick=quick)


def main() -> int:
    """Run the bench; 0 when it could measure everything, whatever it found."""
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description="Load test of the whole pipeline.")
    parser.add_argument("--quick", action="store_true", help="one short round of everything, within a minute")
    quick: bool = parser.parse_args().quick
    results = asyncio.run(_run(phases.QUICK if quick else phases.FULL, quick=quick))
    keep(results, "pipeline")
    sys.stdout.write(table(results) + "\n")
    return 0


_began = time.monotonic()


def _say(what: str) -> None:
    sys.stderr.write(f"{time.monotonic() - _began:6.1f} s  {what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
