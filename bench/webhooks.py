"""Load test of webhooks alone: from events in Kafka to receivers, on a stack of its own.

    .venv/bin/python -m bench.webhooks [--quick] [--all | --only backlog,slow,…] [--stored 10000000] [--minutes 10] …

Processor time is that of the service, PostgreSQL and Kafka, as the operating system counts it; that of publisher and receivers is shown
apart. Every phase fails if a delivery is missing. `README.md` describes the phases. A whole run stores its figures in
`results/webhooks.json`, each long phase in `results/webhooks-<phase>.json`.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.figures import Results, keep, table
from bench.webhook_endurance import due, soak, stored
from bench.webhook_failures import kill, restarts
from bench.webhook_phases import Plan, backlog, isolation, latency, slow, statements
from bench.webhook_stage import Stage, say, set_up

RUN_SECONDS_MAX = 3 * 3600.0

Phase = Callable[[Stage, Plan], Awaitable[None]]

USUAL: Mapping[str, Phase] = {
    "backlog": backlog,
    "slow": slow,
    "latency": latency,
    "statements": statements,
    "isolation": isolation,
    "kill": kill,
    "restarts": restarts,
}
LONG: Mapping[str, Phase] = {"soak": soak, "due": due, "stored": stored}
PHASES = {**USUAL, **LONG}

FULL = Plan(
    events=40_000,
    latency_seconds=8.0,
    latency_rates=(200, 1000),
    lone_seconds=10.0,
    isolation_rate=2000,
    isolation_seconds=25.0,
    rounds=2,
    soak_minutes=10,
    soak_minute_seconds=60.0,
    soak_rate=1000,
    due=1_000_000,
    due_seconds=60.0,
    stored=3_000_000,
)
QUICK = replace(
    FULL,
    events=15_000,
    latency_seconds=3.0,
    lone_seconds=3.0,
    isolation_seconds=8.0,
    rounds=1,
    soak_minutes=4,
    soak_minute_seconds=5.0,
    due=200_000,
    due_seconds=12.0,
    stored=100_000,
)


async def measure(phases: Sequence[str], plan: Plan, *, quick: bool) -> Mapping[str, Results]:
    """Run these phases on a stage of their own. Returns the results: the usual phases together, each long one by itself."""
    found: dict[str, Results] = {}
    usual = Results(quick)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="waybill-bench-", ignore_cleanup_errors=True) as folder:
        async with set_up(Path(folder), usual) as stage:
            for phase in phases:
                say(f"{time.monotonic() - began:6.1f} s  {phase}")
                name = f"webhooks-{phase}" if phase in LONG else "webhooks"
                stage.results = found.setdefault(name, Results(quick))
                await PHASES[phase](stage, plan)
            say(f"{time.monotonic() - began:6.1f} s  stopping")
    return found


async def _run(phases: Sequence[str], plan: Plan, *, quick: bool) -> Mapping[str, Results]:
    # However the run ends, its processes are stopped.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(RUN_SECONDS_MAX):
        return await measure(phases, plan, quick=quick)


def main() -> int:
    """Run the bench. Returns 0 if it could measure everything, whatever the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks", description="Load test of webhooks alone.")
    parser.add_argument("--quick", action="store_true", help="everything short")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--only", default=",".join(USUAL), help=f"of {', '.join(PHASES)}; comma-separated")
    chosen.add_argument("--all", action="store_true", help=f"{', '.join(LONG)} as well")
    parser.add_argument("--events", type=int, help="of one backlog")
    parser.add_argument("--rate", type=int, help="deliveries a second where isolation is measured")
    parser.add_argument("--minutes", type=int, help="of the soak")
    parser.add_argument("--soak-rate", type=int, help="deliveries a second in the soak")
    parser.add_argument("--due", type=int, help="deliveries due at once")
    parser.add_argument("--stored", type=int, help="deliveries stored, of the larger number")
    options = parser.parse_args()
    phases = list(PHASES) if options.all else options.only.split(",")
    if unknown := set(phases) - set(PHASES):
        parser.error(f"no such phase: {', '.join(sorted(unknown))}")
    asked = {
        "events": options.events,
        "isolation_rate": options.rate,
        "soak_minutes": options.minutes,
        "soak_rate": options.soak_rate,
        "due": options.due,
        "stored": options.stored,
    }
    plan = replace(
        QUICK if options.quick else FULL, **{name: value for name, value in asked.items() if value is not None}
    )
    for name, results in asyncio.run(_run(phases, plan, quick=options.quick)).items():
        # A part of a usual run must not replace the results of a whole one.
        if name != "webhooks" or set(USUAL) <= set(phases):
            keep(results, name)
        sys.stdout.write(f"\n{table(results)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
