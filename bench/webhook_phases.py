"""The phases of a usual run: cost and rate from a backlog, slow receivers, latency, statements, isolation."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.cpu import Usage
from bench.figures import percentile
from bench.webhook_stage import (
    ANSWER_SECONDS,
    COUNTED,
    ENDPOINTS_PER_TENANT,
    PATIENCE_SECONDS,
    BenchFailed,
    Source,
    Stage,
    samples,
)
from deploy.devstack.processes import LOOPBACK

CPU_US_AIM = 80.0
RATE_AIM = 15_000.0
SLOW_RATE_AIM = 5_000.0
LATENCY_RATE_OF_AIM = 1000
LATENCY_P50_MS_AIM = 3.0
LATENCY_P99_MS_AIM = 15.0
ISOLATION_TIMES_AIM = 1.5
STATEMENTS_AT_BATCH_AIM = 0.5
STATEMENTS_ALONE_AIM = 5.0
BYTES_PER_PAYLOAD_BYTE_AIM = 1.5
BYTES_BESIDES_AIM = 600

SHARES = (0.5, 0.95, 0.99)
ENDPOINTS_OF_LATENCY = 10
WARM_SECONDS = 2.0
IN_FLIGHT_OF_CEILING = 128
IN_FLIGHT_OF_SLOW = 768
"""As many attempts as the service has in flight to one endpoint."""
CLIENT_ALONE = "the service's client alone"
KAFKA_ALONE = "Kafka alone"
LONE_RATE = 10
HEALTHY = 7
STOP, CONTINUE = 19, 18
"""SIGSTOP and SIGCONT."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes, durations and rounds of a run."""

    events: int
    latency_seconds: float
    latency_rates: Sequence[int]
    lone_seconds: float
    isolation_rate: int
    isolation_seconds: float
    rounds: int
    soak_minutes: int
    soak_minute_seconds: float
    soak_rate: int
    due: int
    due_seconds: float
    stored: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """The measurements of one backlog."""

    per_second: float
    deliveries: int
    usage: Usage
    statements_per_event: float
    bytes_per_event: float
    payload_bytes: int
    repeated: int

    @property
    def cpu_us(self) -> float:
        costs = self.usage.per_operation_us(self.deliveries)
        return sum(costs[name] for name in COUNTED)


# -- backlog and slow receivers ---------------------------------------------------------------------------------------------


async def backlog(stage: Stage, plan: Plan) -> None:
    """Deliveries from a backlog to 1, 50 and 1,000 endpoints, and of each event to 50 endpoints."""
    found = {}
    for count in (1, 50, 1000):
        paths = [f"/ok/{count}-{number}" for number in range(count)]
        sources = await stage.endpoints(paths)
        found[count] = await from_backlog(stage, sources, plan.events)
        alone = await client_alone(stage, sources, paths, plan.events)
        _add_backlog(stage, f"from a backlog to {count:,} endpoint{'s' * (count > 1)}", found[count], alone)
    one = found[1]
    allowed = BYTES_PER_PAYLOAD_BYTE_AIM * one.payload_bytes + BYTES_BESIDES_AIM
    stage.add("statements per event, at batch", "", one.statements_per_event, at_most=STATEMENTS_AT_BATCH_AIM)
    stage.add(
        f"on the disk per event of {one.payload_bytes:,} bytes with its delivery",
        "bytes",
        one.bytes_per_event,
        at_most=allowed,
    )
    paths = [f"/ok/fan-{number}" for number in range(ENDPOINTS_PER_TENANT)]
    sources = await stage.endpoints(paths)
    await stage.harness.rows("UPDATE endpoints SET location_ids = NULL, updated_at = now() WHERE enabled RETURNING 1")
    fanned = await from_backlog(stage, sources[:1], plan.events // 25, fan_out=ENDPOINTS_PER_TENANT)
    alone = await client_alone(stage, sources, paths, plan.events)
    _add_backlog(stage, f"from a backlog, each event to {ENDPOINTS_PER_TENANT} endpoints", fanned, alone)


async def slow(stage: Stage, plan: Plan) -> None:
    """Receivers that take 100 ms."""
    for count in (1, 10):
        paths = [f"/slow/100/{count}-{number}" for number in range(count)]
        sources = await stage.endpoints(paths)
        found = await from_backlog(stage, sources, plan.events // 2)
        alone = await client_alone(stage, sources, paths, plan.events // 2, IN_FLIGHT_OF_SLOW * min(count, 2))
        name = f"to {count} receiver{'s' * (count > 1)} that take{'s' * (count == 1)} 100 ms"
        _add_backlog(stage, name, found, alone, rate_aim=SLOW_RATE_AIM)


async def from_backlog(stage: Stage, sources: Sequence[Source], events: int, *, fan_out: int = 1) -> Backlog:
    """The service is stopped while the backlog is made. Measured from 10 % to 90 % of the arrivals."""
    payload_bytes = await stage.publish_to(sources)
    warm = max(len(sources), events // 10)
    await stage.publish(warm)
    await stage.arrived(warm * fan_out)
    await stage.recorded()
    assert stage.process.popen is not None
    stage.process.popen.send_signal(STOP)
    await stage.publish(events)
    total = events * fan_out
    statements, table_bytes = await stage.statements(), await stage.table_bytes()
    stage.process.popen.send_signal(CONTINUE)
    first = await stage.wait(total // 10)
    account = stage.account()
    last = await stage.wait(total * 9 // 10)
    usage = account.usage()
    taken = await stage.arrived(total)
    await stage.recorded()
    deliveries = last["count"] - first["count"]
    return Backlog(
        per_second=deliveries / ((last["at_ns"] - first["at_ns"]) / 1e9),
        deliveries=deliveries,
        usage=usage,
        statements_per_event=(await stage.statements() - statements) / events,
        bytes_per_event=(await stage.table_bytes() - table_bytes) / events,
        payload_bytes=payload_bytes,
        repeated=taken["repeated"],
    )


async def client_alone(
    stage: Stage, sources: Sequence[Source], paths: Sequence[str], count: int, in_flight: int = IN_FLIGHT_OF_CEILING
) -> Mapping[str, float]:
    """The ceiling: the service's HTTP client signs and sends the same bodies to the same receivers, without Kafka and database."""
    found = await stage.ceilings.ask(
        "deliver",
        seconds=ANSWER_SECONDS,
        urls=[f"http://{LOOPBACK}:{stage.port}{path}" for path in paths],
        samples=samples(sources[:1]),
        count=count,
        in_flight=in_flight,
    )
    await stage.arrived(count)
    return found


def _add_backlog(
    stage: Stage, name: str, found: Backlog, alone: Mapping[str, float], *, rate_aim: float = RATE_AIM
) -> None:
    stage.add(
        f"delivered {name}",
        "/s",
        found.per_second,
        ceiling=[alone["per_second"]],
        ceiling_name=CLIENT_ALONE,
        at_least=rate_aim,
    )
    stage.add(
        f"processor time per delivery {name}",
        "µs",
        stage.add_cost(f"delivered {name}", found.usage, found.deliveries),
        ceiling=[alone["cpu_us"]],
        ceiling_name=CLIENT_ALONE,
        at_most=CPU_US_AIM,
    )
    if found.repeated:
        stage.results.remarks.append(f"delivered {name}: {found.repeated} arrived twice")


# -- latency, and single events --------------------------------------------------------------------------------------------


async def latency(stage: Stage, plan: Plan) -> None:
    """From publication to receipt, at fixed rates."""
    for rate in plan.latency_rates:
        sources = await stage.endpoints([f"/ok/latency-{rate}-{number}" for number in range(ENDPOINTS_OF_LATENCY)])
        await stage.publish_to(sources)
        warm = await stage.publish_at_rate(rate, WARM_SECONDS)
        await stage.arrived(warm["count"])
        account = stage.account()
        sent = await stage.publish_at_rate(rate, plan.latency_seconds)
        taken = await stage.arrived(sent["count"])
        usage = account.usage()
        found_ms = latencies_ms(taken["paths"])
        hop = await stage.ceilings.ask(
            "hop",
            seconds=plan.latency_seconds + ANSWER_SECONDS,
            bootstrap_servers=stage.backing.kafka_bootstrap,
            rate=rate,
            duration_seconds=plan.latency_seconds,
            sample={"value": samples(sources[:1])[0][1]},
        )
        hop_ms = [ns / 1e6 for ns in hop["latencies_ns"]]
        aims = {0.5: LATENCY_P50_MS_AIM, 0.99: LATENCY_P99_MS_AIM} if rate == LATENCY_RATE_OF_AIM else {}
        for share in SHARES:
            stage.add(
                f"published → received at {rate:,}/s, p{share * 100:.0f}",
                "ms",
                percentile(found_ms, share),
                ceiling=[percentile(hop_ms, share)],
                ceiling_name=KAFKA_ALONE,
                at_most=aims.get(share),
            )
        stage.add_cost(f"at {rate:,} deliveries/s", usage, sent["count"])
        stage.results.remarks.append(
            f"At {rate:,}/s the publisher was late by {sent['late_ms']:.0f} ms at most, which the figures do not contain."
        )


async def statements(stage: Stage, plan: Plan) -> None:
    """Statements for a single event, without those of an idle service."""
    sources = await stage.endpoints(["/ok/lone"])
    await stage.publish_to(sources)
    await stage.publish(1)
    await stage.arrived(1)
    await stage.recorded()
    before = await stage.statements()
    await asyncio.sleep(plan.lone_seconds)
    idle = await stage.statements() - before
    before = await stage.statements()
    sent = await stage.publish_at_rate(LONE_RATE, plan.lone_seconds)
    busy = await stage.statements() - before
    await stage.arrived(sent["count"])
    stage.add(
        f"statements per event, at {LONE_RATE} events/s",
        "",
        max(0.0, (busy - idle) / sent["count"]),
        at_most=STATEMENTS_ALONE_AIM,
    )
    stage.add("statements while nothing happens", "/s", idle / plan.lone_seconds)


def latencies_ms(paths: Mapping[str, Sequence[Sequence[int]]], only: Sequence[str] = ()) -> list[float]:
    """Latencies of all arrivals (at these paths), from the publication of the event."""
    return [ns / 1e6 for path in only or paths for ns in (paths[path][1] if path in paths else ())]


# -- isolation ---------------------------------------------------------------------------------------------------------------


async def isolation(stage: Stage, plan: Plan) -> None:
    """Ten endpoints at a steady rate; then one hangs, one refuses, and one responds byte by byte."""
    healthy = [f"/ok/isolation-{number}" for number in range(HEALTHY)]
    undisturbed = await _healthy_ms(stage, plan, healthy, ["/ok/x", "/ok/y", "/ok/z"])
    disturbed = await _healthy_ms(stage, plan, healthy, ["/hang/0", "/refuse/0", "/drip/0"])
    for share in SHARES:
        stage.add(
            f"{HEALTHY} of ten endpoints at {plan.isolation_rate:,}/s, while one hangs, one refuses, one drips, p{share * 100:.0f}",
            "ms",
            percentile(disturbed, share),
            ceiling=[percentile(undisturbed, share)],
            ceiling_name="all ten healthy",
            times=ISOLATION_TIMES_AIM if share == 0.95 else None,
        )
    # Deliveries of the bad endpoints that are still queued would disturb the next phases.
    await stage.clear()


async def _healthy_ms(stage: Stage, plan: Plan, healthy: Sequence[str], others: Sequence[str]) -> list[float]:
    """Latencies at the healthy endpoints, after some seconds of warm-up. Raises if a delivery to them is missing."""
    sources = await stage.endpoints([*healthy, *others])
    await stage.publish_to(sources)
    await stage.publish_at_rate(plan.isolation_rate, WARM_SECONDS)
    await stage.wait(10**9, patience_seconds=WARM_SECONDS, paths=healthy)
    await stage.sink.ask("take", seconds=ANSWER_SECONDS)
    sent = await stage.publish_at_rate(plan.isolation_rate, plan.isolation_seconds)
    # Events of the sources take turns: each source has an equal share, except for the remainder.
    due = sent["count"] * len(healthy) // len(sources) - len(healthy)
    arrived = await stage.wait(due, patience_seconds=PATIENCE_SECONDS, paths=healthy)
    await stage.wait(10**9, patience_seconds=1.0, paths=healthy)
    if arrived["count"] < due:
        raise BenchFailed(f"{arrived['count']} of {due} deliveries arrived at the healthy endpoints")
    taken = await stage.sink.ask("take", seconds=ANSWER_SECONDS)
    return latencies_ms(taken["paths"], healthy)
