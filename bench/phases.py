"""What is measured, phase by phase. Each leaves the stage as it found it and adds its figures to the results."""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from bench.children import Document
from bench.cpu import Usage
from bench.figures import Figure, Results, percentile, steady_rate
from bench.stage import ALL_ROLES, ANSWER_SECONDS, BenchFailed, Stage, watching
from tests.harness.client import Api

JOBS_PER_SECOND_AIM = 1500
LATENCY_RATE_OF_AIM = 200
LATENCY_P50_MS_AIM = 10.0
LATENCY_P99_MS_AIM = 50.0
REVOCATION_P99_MS_AIM = 250.0
ACCEPT_SHARE_AIM = 0.5

REVOCATION_SECONDS_MAX = 10.0
REVOKED_FOR_GOOD_CALLS = 10
MERCHANTS_AT_ONCE = 4
WATCH_SECONDS = 0.02
# The share that one endpoint has of a process's attempts at once.
IN_FLIGHT = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often."""

    rounds: int
    load_seconds: float
    latency_seconds: float
    latency_rates: Sequence[int]
    revocations: int


FULL = Plan(rounds=3, load_seconds=5.0, latency_seconds=8.0, latency_rates=(200, 1000), revocations=20)
QUICK = Plan(rounds=1, load_seconds=2.0, latency_seconds=3.0, latency_rates=(200,), revocations=5)


@dataclass(slots=True)
class Rounds:
    """Rates of the phases that are repeated, and what they cost."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    usages: dict[str, list[tuple[Usage, int]]] = field(default_factory=dict)

    def add(self, name: str, rate: float) -> None:
        self.rates.setdefault(name, []).append(rate)

    def cost(self, name: str, usage: Usage, operations: int) -> None:
        self.usages.setdefault(name, []).append((usage, operations))

    def of(self, *names: str) -> Sequence[float]:
        return [rate for name in names for rate in self.rates.get(name, ())]


# -- revocation ------------------------------------------------------------------------------------------------------------


async def revocation(stage: Stage, plan: Plan, results: Results) -> None:
    """From the answer of the call that revokes a merchant's access to the first refusal in jobs."""
    places = asyncio.Semaphore(MERCHANTS_AT_ONCE)

    async def with_access() -> tuple[str, Api]:
        async with places:
            merchant = await stage.tenant.create_merchant()
            return merchant.id, await merchant.reveal()

    merchants = await asyncio.gather(*(with_access() for _ in range(plan.revocations)))
    lags_ms = [await _revoke(stage, merchant_id, api) for merchant_id, api in merchants]
    p99 = percentile(lags_ms, 0.99)
    results.figures += [
        Figure("revocation → first refusal in jobs, p50", "ms", [percentile(lags_ms, 0.5)]),
        Figure(
            "revocation → first refusal in jobs, p99",
            "ms",
            [p99],
            aim=f"≤ {REVOCATION_P99_MS_AIM:.0f}",
            met=p99 <= REVOCATION_P99_MS_AIM,
        ),
    ]


async def _revoke(stage: Stage, merchant_id: str, api: Api) -> float:
    """Milliseconds of one revocation, while the merchant goes on calling as fast as it is answered."""
    refused_at: list[float] = []

    async def call_on() -> None:
        async with asyncio.timeout(REVOCATION_SECONDS_MAX):
            while len(refused_at) < REVOKED_FOR_GOOD_CALLS:
                status = (await api.at("jobs").get("/v1/auth/test")).status_code
                if status == httpx.codes.OK and refused_at:
                    raise BenchFailed("access that had been refused was granted again")
                if status != httpx.codes.OK:
                    refused_at.append(time.monotonic())

    calling = asyncio.create_task(call_on())
    answer = await stage.tenant.owner.at("identity").delete(f"/v1/merchants/{merchant_id}/api-access")
    answered_at = time.monotonic()
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        calling.cancel()
        raise BenchFailed(f"access was not revoked: {answer.status_code} {answer.text}")
    await calling
    return (refused_at[0] - answered_at) * 1000


# -- latency ---------------------------------------------------------------------------------------------------------------


async def latency(stage: Stage, plan: Plan, results: Results) -> None:
    """From the answer to the webhook's arrival, at fixed rates, beside the way through Kafka alone."""
    for rate in plan.latency_rates:
        warm = await stage.send("open", seconds=1.0, rate=rate)
        await stage.arrived(warm["sent"])
        account = stage.account()
        sent = await stage.send("open", seconds=plan.latency_seconds, rate=rate)
        arrived = await stage.arrived(sent["sent"])
        usage = account.usage()
        if not sent["sustained"]:
            results.remarks.append(f"{rate:,} jobs/s were not sustained: given up after {sent['sent']:,} jobs.")
            continue
        hop = await stage.ceilings.ask(
            "hop",
            seconds=ANSWER_SECONDS,
            bootstrap_servers=stage.backing.kafka_bootstrap,
            sample=stage.sample,
            rate=rate,
            duration_seconds=plan.latency_seconds / 2,
        )
        _cost(results, f"at {rate:,} jobs/s", [(usage, sent["sent"])])
        _latency_figures(results, rate, sent, arrived["first_ns"], [ns / 1e6 for ns in hop["latencies_ns"]])


def _latency_figures(
    results: Results, rate: int, sent: Document, first_ns: Mapping[str, int], hop_ms: Sequence[float]
) -> None:
    delivered_ms = [(first_ns[job] - answered) / 1e6 for job, answered in sent["answered_ns"].items()]
    aims = {0.5: LATENCY_P50_MS_AIM, 0.99: LATENCY_P99_MS_AIM} if rate == LATENCY_RATE_OF_AIM else {}
    for share in (0.5, 0.95, 0.99):
        value = percentile(delivered_ms, share)
        results.figures.append(
            Figure(
                f"POST answered → webhook received at {rate:,}/s, p{share * 100:.0f}",
                "ms",
                [value],
                [percentile(hop_ms, share)],
                "Kafka alone",
                aim=f"≤ {aims[share]:.0f}" if share in aims else "",
                met=value <= aims[share] if share in aims else None,
            )
        )
    answer_ms = [ns / 1e6 for ns in sent["latencies_ns"]]
    results.figures += [
        Figure(f"POST due → answered at {rate:,}/s, p{share * 100:.0f}", "ms", [percentile(answer_ms, share)])
        for share in (0.5, 0.99)
    ]


# -- everything at once ----------------------------------------------------------------------------------------------------


async def end_to_end(stage: Stage, plan: Plan, results: Results, rounds: Rounds) -> None:
    """Jobs created and delivered: closed loop, and the time runs until the last webhook has arrived."""
    await stage.send("closed", seconds=1.0)
    await stage.sink.ask("wait", seconds=ANSWER_SECONDS, count=10**9, patience_seconds=1.0)
    await stage.sink.ask("take", seconds=ANSWER_SECONDS)
    commits, log_bytes, created = [], [], []
    for _ in range(plan.rounds):
        before = await stage.written()
        account = stage.account()
        sent = await stage.send("closed", seconds=plan.load_seconds)
        arrived = await stage.arrived(sent["sent"])
        usage = account.usage()
        after = await stage.written()
        last_ns = max(arrived["first_ns"].values())
        rounds.add("end to end", sent["sent"] / ((last_ns - sent["begun_ns"]) / 1e9))
        rounds.cost("job created and delivered", usage, sent["sent"])
        created.append(sent["sent"] / sent["seconds"])
        commits.append((after[0] - before[0]) / sent["sent"])
        log_bytes.append((after[1] - before[1]) / sent["sent"])
    results.figures += [
        Figure("meanwhile accepted", "jobs/s", created),
        Figure("transactions per job, all databases", "", commits),
        Figure("write-ahead log per job", "bytes", log_bytes),
    ]


# -- part by part ----------------------------------------------------------------------------------------------------------


async def parts(stage: Stage, plan: Plan, rounds: Rounds) -> None:
    """Accepting alone, then the relay with what has gathered in the outbox, then delivering what has gathered in Kafka."""
    for _ in range(plan.rounds):
        await stage.stop("webhooks")
        await stage.run_as("jobs", "api")
        count = await _accept(stage, plan, rounds)
        await _relay(stage, rounds, count)
        await _deliver(stage, rounds, count)
    await stage.run_as("jobs", ALL_ROLES)


async def _accept(stage: Stage, plan: Plan, rounds: Rounds) -> int:
    """How many jobs wait in the outbox then."""
    waiting = (await stage.send("closed", seconds=0.5))["sent"]
    await stage.send("closed", seconds=0.5, port=stage.ceiling_port)
    bare = await stage.send("closed", seconds=plan.load_seconds / 2, port=stage.ceiling_port)
    rounds.add("accept: bare", bare["sent"] / bare["seconds"])
    for name, keyed in (("accept", False), ("accept: keyed", True)):
        account = stage.account("jobs")
        sent = await stage.send("closed", seconds=plan.load_seconds / 2, keyed=keyed)
        rounds.cost("job accepted" + (" with an Idempotency-Key" if keyed else ""), account.usage(), sent["sent"])
        rounds.add(name, sent["sent"] / sent["seconds"])
        waiting += sent["sent"]
    return int(waiting)


async def _relay(stage: Stage, rounds: Rounds, count: int) -> None:
    async with watching(stage.suite) as kafka:
        before = await kafka.count()
        running = asyncio.create_task(stage.run_as("jobs", "relay"))
        seen: list[tuple[float, int]] = []
        async with asyncio.timeout(ANSWER_SECONDS):
            while not seen or seen[-1][1] < count:
                seen.append((time.monotonic(), await kafka.count() - before))
                await asyncio.sleep(WATCH_SECONDS)
        await running
    # From the last look at which not a tenth was there to the first at which nine tenths were: never two ends of one moment.
    first = [one for one in seen if one[1] < count * 0.1][-1]
    last = next(one for one in seen if one[1] >= count * 0.9)
    rounds.add("relay", (last[1] - first[1]) / (last[0] - first[0]))
    ceiling = await stage.ceilings.ask(
        "relay",
        seconds=ANSWER_SECONDS,
        bootstrap_servers=stage.backing.kafka_bootstrap,
        sample=stage.sample,
        count=count,
    )
    rounds.add("relay: bare", ceiling["per_second"])


async def _deliver(stage: Stage, rounds: Rounds, count: int) -> None:
    await stage.stop("jobs")
    await stage.run_as("webhooks", ALL_ROLES)
    arrived = await stage.arrived(count)
    rounds.add("deliver", steady_rate(list(arrived["first_ns"].values())))
    ceiling = await stage.ceilings.ask(
        "deliver",
        seconds=ANSWER_SECONDS,
        sample=stage.sample,
        url=stage.sink_url,
        count=min(count, 10_000),
        in_flight=IN_FLIGHT,
    )
    await stage.sink.ask("take", seconds=ANSWER_SECONDS)
    rounds.add("deliver: bare", ceiling["per_second"])


# -- what follows ----------------------------------------------------------------------------------------------------------


def conclude(results: Results, rounds: Rounds) -> None:
    """The figures of the phases that were repeated, the most important first."""
    bare = [rounds.of(f"{part}: bare") for part in ("accept", "relay", "deliver")]
    # What the three ceilings could do together: one after the other on the same processors.
    together = [1 / sum(1 / rate for rate in one_round) for one_round in zip(*bare, strict=True)]
    whole = statistics.median(rounds.of("end to end"))
    share = statistics.median(rounds.of("accept")) / statistics.median(bare[0])
    results.figures[:0] = [
        Figure(
            "jobs created and delivered",
            "/s",
            rounds.of("end to end"),
            together,
            "the three ceilings in a row",
            aim=f"≥ {JOBS_PER_SECOND_AIM:,}",
            met=whole >= JOBS_PER_SECOND_AIM,
        ),
        Figure(
            "jobs accepted",
            "/s",
            rounds.of("accept"),
            bare[0],
            "bare ASGI, same SQL",
            aim=f"≥ {ACCEPT_SHARE_AIM:.0%} of the ceiling",
            met=share >= ACCEPT_SHARE_AIM,
        ),
        Figure(
            "jobs accepted with an Idempotency-Key", "/s", rounds.of("accept: keyed"), bare[0], "bare ASGI, same SQL"
        ),
        Figure("outbox → Kafka", "/s", rounds.of("relay"), bare[1], "plain aiokafka"),
        Figure("Kafka → receiver, from a backlog", "/s", rounds.of("deliver"), bare[2], "plain aiohttp"),
    ]
    for what, usages in rounds.usages.items():
        _cost(results, what, usages)


def _cost(results: Results, what: str, usages: Sequence[tuple[Usage, int]]) -> None:
    costs = [usage.per_operation_us(operations) for usage, operations in usages]
    results.costs_us[what] = {name: statistics.median(cost[name] for cost in costs) for name in costs[0]}
    results.foreign_shares[what] = statistics.median(usage.foreign_share for usage, _ in usages)
