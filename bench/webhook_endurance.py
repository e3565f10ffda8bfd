"""Long phases: minutes at a steady rate, a million deliveries due at once, millions of stored deliveries."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import psutil

from bench.cpu import Usage
from bench.figures import percentile
from bench.webhook_phases import Backlog, Plan, from_backlog, latencies_ms
from bench.webhook_stage import ANSWER_SECONDS, ENDPOINTS_PER_TENANT, BenchFailed, Source, Stage, say
from bench.webhook_stock import make_days, write_delivered, write_due

MEMORY_MIB_AIM = 300.0
FLAT_TIMES_AIM = 1.2
COST_TIMES_AIM = 1.3
LOOK_SECONDS = 0.2
ENDPOINTS = 10
SOAK_WARM_SECONDS = 30.0
STORED_FIRST = 10_000
STORED_ROUNDS = 3
STORED_EVENTS_MAX = 30_000
NUMBERS_OF_STOCK = 1_000_000_000
"""Numbers that the publisher does not use."""
FRESH_RATE = 50
DUE_PARTS = 6
SHARES = (0.5, 0.99)


class Watcher:
    """Measures the memory of the service repeatedly."""

    def __init__(self, pid: int):
        self._process = psutil.Process(pid)
        self.most_mib = 0.0

    async def run(self) -> None:
        """Measure until cancelled or the process has ended."""
        with suppress(psutil.NoSuchProcess):
            while True:
                self.most_mib = max(self.most_mib, self._process.memory_info().rss / 2**20)
                await asyncio.sleep(LOOK_SECONDS)

    def take(self) -> float:
        """The maximum since the last call."""
        most, self.most_mib = self.most_mib, 0.0
        return most


async def soak(stage: Stage, plan: Plan) -> None:
    """Minutes at a steady rate: memory and latency of the last minute compared with the first."""
    sources = await stage.endpoints([f"/ok/soak-{number}" for number in range(ENDPOINTS)])
    await stage.publish_to(sources)
    warm = await stage.publish_at_rate(plan.soak_rate, min(SOAK_WARM_SECONDS, plan.soak_minute_seconds))
    await stage.arrived(warm["count"])
    watcher = Watcher(stage.pid)
    watching = asyncio.create_task(watcher.run())
    seconds = plan.soak_minutes * plan.soak_minute_seconds
    publishing = asyncio.create_task(stage.publish_at_rate(plan.soak_rate, seconds))
    began = time.monotonic()
    memory_mib: list[float] = []
    of_minutes: list[list[float]] = []
    seen: set[int] = set()
    try:
        for minute in range(1, plan.soak_minutes + 1):
            await asyncio.sleep(max(0.0, began + minute * plan.soak_minute_seconds - time.monotonic()))
            if minute == plan.soak_minutes:
                sent = await publishing
                await stage.wait(sent["count"] - len(seen), patience_seconds=5)
            of_minutes.append(await _minute(stage, seen))
            memory_mib.append(watcher.take())
            say(f"  minute {minute}: {memory_mib[-1]:.0f} MiB, p99 {percentile(of_minutes[-1], 0.99):.1f} ms")
    finally:
        for task in (watching, publishing):
            task.cancel()
        await asyncio.wait({watching, publishing})
    if len(seen) < sent["count"]:
        raise BenchFailed(f"{len(seen)} of {sent['count']} deliveries arrived")
    name = f"{plan.soak_minutes} minutes at {plan.soak_rate:,}/s, the last"
    first = "the first"
    stage.add(
        f"{name}: memory", "MiB", memory_mib[-1], ceiling=memory_mib[:1], ceiling_name=first, times=FLAT_TIMES_AIM
    )
    for share in SHARES:
        values = [percentile(found, share) for found in of_minutes]
        stage.add(
            f"{name}: published → received, p{share * 100:.0f}",
            "ms",
            values[-1],
            ceiling=values[:1],
            ceiling_name=first,
            times=FLAT_TIMES_AIM,
        )
        stage.results.remarks.append(
            f"p{share * 100:.0f} of the minutes, in ms: {', '.join(f'{value:.1f}' for value in values)}."
        )
    stage.results.remarks.append(f"Memory of the minutes, in MiB: {', '.join(f'{mib:.0f}' for mib in memory_mib)}.")


async def _minute(stage: Stage, seen: set[int]) -> list[float]:
    """Latencies of the events that have arrived since the last call; `seen` gets their numbers."""
    taken = await stage.sink.ask("take", seconds=ANSWER_SECONDS)
    for numbers, _ in taken["paths"].values():
        seen.update(numbers)
    return latencies_ms(taken["paths"])


async def due(stage: Stage, plan: Plan) -> None:
    """A million deliveries due when a worker starts: its memory, its rate, and the latency of events of other tenants meanwhile."""
    sources = await stage.endpoints([f"/ok/due-{number}" for number in range(ENDPOINTS_PER_TENANT)])
    endpoint_ids = await _enabled(stage)
    await stage.stop()
    say("  writing what is due")
    await write_due(stage.watch, sources[0], endpoint_ids, NUMBERS_OF_STOCK, plan.due // len(endpoint_ids))
    fresh = await _one_more(stage, "/ok/fresh")
    await stage.publish_to([fresh])
    stage.process.start()
    watcher = Watcher(stage.pid)
    watching = asyncio.create_task(watcher.run())
    try:
        await stage.process.ready()
        publishing = asyncio.create_task(stage.publish_at_rate(FRESH_RATE, plan.due_seconds))
        parts: list[_Part] = []
        for _ in range(DUE_PARTS):
            part = await _part(stage, plan.due_seconds / DUE_PARTS)
            # The part in which the queue became empty is left out.
            if not parts or await stage.watch("SELECT EXISTS (SELECT FROM delivery_due)"):
                parts.append(part)
        sent = await publishing
        await stage.wait(sent["count"], paths=["/ok/fresh"])
        left = int(await stage.watch("SELECT count(*) FROM delivery_due"))
        taken = await stage.sink.ask("take", seconds=ANSWER_SECONDS)
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    arrived = latencies_ms(taken["paths"], ["/ok/fresh"])
    if len(arrived) < sent["count"]:
        raise BenchFailed(f"{len(arrived)} of {sent['count']} new events arrived while {plan.due:,} were due")
    if not all(part.deliveries for part in parts):
        raise BenchFailed("for some time nothing of what was due was delivered")
    name = f"{plan.due:,} due, one worker"
    costs = [
        stage.add_cost(f"{name}: delivered in the {which} part", part.usage, part.deliveries)
        for which, part in (("first", parts[0]), ("last", parts[-1]))
    ]
    stage.add(f"{name}: most memory", "MiB", watcher.most_mib, at_most=MEMORY_MIB_AIM)
    stage.add(
        f"{name}: delivered in the last part",
        "/s",
        parts[-1].per_second,
        ceiling=[parts[0].per_second],
        ceiling_name="in the first part",
    )
    stage.add(
        f"{name}: processor time per delivery in the last part",
        "µs",
        costs[1],
        ceiling=costs[:1],
        ceiling_name="in the first part",
        times=COST_TIMES_AIM,
    )
    for share in SHARES:
        stage.add(
            f"{name}: new event of another tenant published → received, p{share * 100:.0f}",
            "ms",
            percentile(arrived, share),
        )
    stage.results.remarks.append(f"After {plan.due_seconds:.0f} s {left:,} of {plan.due:,} were still due.")
    await stage.clear()


@dataclass(frozen=True, slots=True)
class _Part:
    """What was delivered in some seconds, and its cost."""

    deliveries: int
    per_second: float
    usage: Usage


async def _part(stage: Stage, seconds: float) -> _Part:
    account, began = stage.account(), time.monotonic()
    before = (await stage.sink.ask("count", seconds=ANSWER_SECONDS))["count"]
    await asyncio.sleep(seconds)
    deliveries = (await stage.sink.ask("count", seconds=ANSWER_SECONDS))["count"] - before
    part = _Part(deliveries, deliveries / (time.monotonic() - began), account.usage())
    say(f"  {part.per_second:,.0f} delivered per second, {stage.memory_mib:.0f} MiB")
    return part


async def stored(stage: Stage, plan: Plan) -> None:
    """The cost of a delivery with ten thousand and with millions of stored ones."""
    await stage.clear()
    await make_days(stage.harness.database)
    paths = [f"/ok/stored-{number}" for number in range(ENDPOINTS)]
    sources = await stage.endpoints(paths)
    endpoint_ids = await _enabled(stage)
    await write_delivered(stage.watch, sources[0], endpoint_ids, NUMBERS_OF_STOCK, STORED_FIRST)
    few = await _rounds(stage, plan, sources)
    say(f"  writing {plan.stored:,} deliveries")
    await write_delivered(
        stage.watch, sources[0], endpoint_ids, NUMBERS_OF_STOCK + STORED_FIRST, max(0, plan.stored - STORED_FIRST)
    )
    many = await _rounds(stage, plan, sources)
    stage.add(
        f"processor time per delivery with {plan.stored:,} stored",
        "µs",
        *(one.cpu_us for one in many),
        ceiling=[one.cpu_us for one in few],
        ceiling_name=f"with {STORED_FIRST:,} stored",
        times=COST_TIMES_AIM,
    )
    stage.add(
        f"delivered from a backlog with {plan.stored:,} stored",
        "/s",
        *(one.per_second for one in many),
        ceiling=[one.per_second for one in few],
        ceiling_name=f"with {STORED_FIRST:,} stored",
    )
    for name, rounds in ((f"with {STORED_FIRST:,} stored", few), (f"with {plan.stored:,} stored", many)):
        middle = sorted(rounds, key=lambda one: one.cpu_us)[len(rounds) // 2]
        stage.add_cost(name, middle.usage, middle.deliveries)
    stage.results.remarks.append(f"The tables of {plan.stored:,} take {await stage.table_bytes() / 2**30:.1f} GiB.")
    await stage.clear()


async def _rounds(stage: Stage, plan: Plan, sources: Sequence[Source]) -> list[Backlog]:
    events = min(plan.events, STORED_EVENTS_MAX)
    return [await from_backlog(stage, sources, events) for _ in range(STORED_ROUNDS)]


async def _enabled(stage: Stage) -> list[UUID]:
    return [row.id for row in await stage.harness.rows("SELECT id FROM endpoints WHERE enabled ORDER BY id")]


async def _one_more(stage: Stage, path: str) -> Source:
    """Create an endpoint of a new tenant; others stay enabled."""
    kept = await _enabled(stage)
    (source,) = await stage.endpoints([path])
    await stage.harness.rows(
        "UPDATE endpoints SET enabled = true, disabled_reason = NULL, updated_at = now() WHERE id = ANY(:ids) RETURNING 1",
        ids=kept,
    )
    return source
