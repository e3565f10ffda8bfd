"""The service, Kafka and PostgreSQL are killed at full load and started again: nothing is lost. Measures how long until all has arrived."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.webhook_phases import Plan
from bench.webhook_stage import ANSWER_SECONDS, BenchFailed, Stage, say

STRAGGLER_SECONDS_AIM = 10.0
ENDPOINTS = 10
ARRIVAL_SECONDS_MAX = 90.0
DOWN_SECONDS = 2.0


@dataclass(slots=True)
class _Rounds:
    lost: list[float] = field(default_factory=list)
    twice: list[float] = field(default_factory=list)
    in_flight: list[float] = field(default_factory=list)
    ready_seconds: list[float] = field(default_factory=list)
    straggler_seconds: list[float] = field(default_factory=list)


async def kill(stage: Stage, plan: Plan) -> None:
    """Kill the service (`kill -9`) at full load and start it again at once."""
    paths = [f"/ok/kill-{number}" for number in range(ENDPOINTS)]
    await stage.publish_to(await stage.endpoints(paths))
    rounds = _Rounds()
    for _ in range(plan.rounds):
        await stage.publish(plan.events)
        await stage.wait(plan.events * 2 // 3)
        stage.process.kill9()
        rounds.in_flight.append(await stage.in_flight())
        started_ns = time.monotonic_ns()
        await stage.start()
        rounds.ready_seconds.append((time.monotonic_ns() - started_ns) / 1e9)
        await _finish(stage, rounds, plan.events, started_ns)
    name = "kill -9 at full load"
    _add(stage, name, rounds)
    stage.add(
        f"{name}: delivered twice",
        "",
        *rounds.twice,
        ceiling=rounds.in_flight,
        ceiling_name="in flight when it died",
        at_most=max(rounds.in_flight),
    )


async def restarts(stage: Stage, plan: Plan) -> None:
    """Kill Kafka, then PostgreSQL, under load and start them again while the service runs."""
    backing = stage.backing
    await _outage(stage, plan, "Kafka", backing.kill9_kafka, backing.restart_kafka, publish_meanwhile=False)
    await _outage(stage, plan, "PostgreSQL", backing.kill9_postgres, backing.restart_postgres, publish_meanwhile=True)


async def _outage(
    stage: Stage,
    plan: Plan,
    server: str,
    kill_it: Callable[[], None],
    start_it: Callable[[], None],
    *,
    publish_meanwhile: bool,
) -> None:
    paths = [f"/ok/{server}-{number}" for number in range(ENDPOINTS)]
    await stage.publish_to(await stage.endpoints(paths))
    rounds = _Rounds()
    for _ in range(plan.rounds):
        more = plan.events // 10
        await stage.publish(plan.events)
        await stage.wait(plan.events * 2 // 3)
        await asyncio.to_thread(kill_it)
        if publish_meanwhile:
            await stage.publish(more)
        await asyncio.sleep(DOWN_SECONDS)
        started_ns = time.monotonic_ns()
        await asyncio.to_thread(start_it)
        ready_ns = time.monotonic_ns()
        rounds.ready_seconds.append((ready_ns - started_ns) / 1e9)
        await stage.publish(more)
        await _finish(stage, rounds, plan.events + more * (2 if publish_meanwhile else 1), ready_ns)
    name = f"{server} killed at full load and started again"
    _add(stage, name, rounds)
    stage.add(f"{name}: delivered twice", "", *rounds.twice)


async def _finish(stage: Stage, rounds: _Rounds, count: int, since_ns: int) -> None:
    """Wait for missing events. Raises if some do not arrive."""
    await stage.wait(count, patience_seconds=ARRIVAL_SECONDS_MAX)
    await stage.recorded()
    taken = await stage.sink.ask("take", seconds=ANSWER_SECONDS)
    rounds.lost.append(count - taken["count"])
    rounds.twice.append(taken["repeated"])
    rounds.straggler_seconds.append((taken["last_ns"] - since_ns) / 1e9)
    say(f"  lost {rounds.lost[-1]}, twice {taken['repeated']}, last after {rounds.straggler_seconds[-1]:.1f} s")
    if taken["count"] < count:
        raise BenchFailed(f"{count - taken['count']} deliveries were lost")


def _add(stage: Stage, name: str, rounds: _Rounds) -> None:
    stage.add(f"{name}: lost", "", *_worst_first(rounds.lost), at_most=0)
    stage.add(f"{name}: ready again after", "s", *rounds.ready_seconds)
    stage.add(f"{name}: all had arrived after", "s", *rounds.straggler_seconds, at_most=STRAGGLER_SECONDS_AIM)


def _worst_first(rounds: Sequence[float]) -> Sequence[float]:
    """The worst sample: for losses a median would be wrong."""
    return [max(rounds)]
