"""Load test of webhooks alone: from events in Kafka to receivers, on a stack of its own.

    .venv/bin/python -m bench.webhooks [--quick] [--only backlog,slow,latency,isolation,kill] [--events 60000] [--rate 2000]

Processor time is that of the service, PostgreSQL and Kafka, from the operating system's accounts; publisher and receivers are processes of
their own and not counted, though they share the machine. Every phase fails loudly when a delivery is missing. Results go to
`bench/results/webhooks.json`.
"""

import argparse
import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.children import Child, Document
from bench.cpu import Account
from bench.figures import percentile
from deploy.devstack.processes import LOOPBACK, find, free_ports
from shared import topics
from shared.events import jobs
from shared.ids import new_id, to_uuid
from tests.support.stack import BackingStack, start_private_stack
from tests.support.suite import Process
from tests.support.webhooks import TOPICS_FILE, Desk, headers_of, job_created, migrated, open_database, secret_32

PHASES = ("backlog", "slow", "latency", "isolation", "kill")
ENDPOINTS_PER_TENANT = 50
ANSWER_SECONDS = 120.0
PATIENCE_SECONDS = 15.0
CPU_US_AIM = 80.0
RATE_AIM = 15_000.0
SLOW_RATE_AIM = 5_000.0
KILL_SECONDS_AIM = 10.0
RESULTS = Path(__file__).parent / "results/webhooks.json"

Place = tuple[str, str]


class BenchFailed(Exception):
    """What was measured is not what should have been measured."""


@dataclass(slots=True)
class Stage:
    """Everything that a phase works with."""

    home: Path
    backing: BackingStack
    process: Process
    desk: Desk
    publisher: Child
    sink: Child
    port: int
    events: int
    rate: int
    """Of events per second where isolation is measured."""
    results: dict[str, Document] = field(default_factory=dict)

    def account(self) -> Account:
        """Processor time from now on."""
        assert self.process.popen is not None
        processes = {"webhooks": psutil.Process(self.process.popen.pid)}
        for name in ("postgres", "kafka"):
            found = find(self.home / f"{name}.pid")
            if found is None:
                raise BenchFailed(f"{name} is not running")
            processes[name] = found
        return Account(processes)

    async def endpoints(self, paths: Sequence[str]) -> list[Place]:
        """New endpoints in new tenants, one location for each path, and none but these; the places whose events they hear."""
        await self.desk.rows("UPDATE endpoints SET enabled = false, updated_at = now() WHERE enabled RETURNING 1")
        places = []
        for number, path in enumerate(paths):
            if number % ENDPOINTS_PER_TENANT == 0:
                self.desk.tenant_id = new_id("ten")
            endpoint_id = await self.desk.endpoint(f"http://{LOOPBACK}:{self.port}{path}")
            location_id = new_id("loc")
            await self.desk.rows(
                "UPDATE endpoints SET location_ids = ARRAY[CAST(:location_id AS uuid)] WHERE id = :id RETURNING 1",
                location_id=to_uuid(location_id),
                id=to_uuid(endpoint_id),
            )
            places.append((self.desk.tenant_id, location_id))
        return places

    async def publish_to(self, places: Sequence[Place]) -> int:
        """From now on events are of these places, in turn; the size of one."""
        events = [job_created(tenant_id, location_id) for tenant_id, location_id in places]
        prepared = await self.publisher.ask(
            "prepare",
            seconds=ANSWER_SECONDS,
            bootstrap_servers=self.backing.kafka_bootstrap,
            topic=jobs.TOPIC,
            samples=[[list(headers_of(event).items()), event.value().decode()] for event in events],
        )
        return int(prepared["payload_bytes"])

    async def arrived(self, count: int, *, patience_seconds: float = PATIENCE_SECONDS) -> Document:
        """Wait until so many deliveries have arrived; what arrived. Raises when some are missing."""
        await self.sink.ask("wait", seconds=ANSWER_SECONDS * 3, count=count, patience_seconds=patience_seconds)
        taken = await self.sink.ask("take", seconds=ANSWER_SECONDS)
        if taken["count"] < count:
            raise BenchFailed(f"{taken['count']} of {count} deliveries arrived")
        return taken

    async def recorded(self) -> None:
        """Wait until nothing is under way."""
        for _ in range(1000):
            rows = await self.desk.rows(
                "SELECT (SELECT count(*) FROM flights) + (SELECT count(*) FROM delivery_due q"
                " JOIN endpoints p ON p.id = q.endpoint_id WHERE p.enabled) AS open"
            )
            if rows[0].open == 0:
                return
            await asyncio.sleep(0.02)
        raise BenchFailed("not everything was recorded")

    def note(self, name: str, **figures: object) -> None:
        self.results[name] = figures
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()), flush=True)


@asynccontextmanager
async def set_up(home: Path, events: int, rate: int) -> AsyncIterator[Stage]:
    """The stage, ready; everything that was started is stopped, however the block ends."""
    async with AsyncExitStack() as cleanup:
        backing = start_private_stack(home)
        cleanup.push_async_callback(asyncio.to_thread, backing.stop)
        url = await migrated(backing)
        bootstrap = await asyncio.to_thread(lambda: backing.kafka_bootstrap)
        await topics.apply(bootstrap, topics.load(TOPICS_FILE))
        keys = f"1:{secret_32()}"
        (port,) = free_ports(1)
        environment = {
            "WEBHOOKS_DATABASE_URL": url,
            "WEBHOOKS_PORT": str(port),
            "WEBHOOKS_SEALING_KEYS": keys,
            "WEBHOOKS_ALLOW_HTTP": "true",
            "WEBHOOKS_ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "WAYBILL_KEY_PEPPERS": f"1:{secret_32()}",
            "WAYBILL_SECRET": secret_32(),
            "WAYBILL_LOG_LEVEL": "WARNING",
            # A replica that dies and comes back takes its partitions up at once.
            "WAYBILL_INSTANCE": f"bench-{secrets.token_hex(4)}",
        }
        process = Process("webhooks", environment, home / "webhooks.log", f"http://{LOOPBACK}:{port}")
        process.start()
        cleanup.push_async_callback(asyncio.to_thread, process.stop)
        await process.ready()
        database = open_database(url)
        cleanup.push_async_callback(database.close)
        publisher = await Child.start("bench.webhook_traffic")
        cleanup.push_async_callback(publisher.stop)
        sink = await Child.start("bench.webhook_sink")
        cleanup.push_async_callback(sink.stop)
        listening = await sink.ask("listen", seconds=ANSWER_SECONDS)
        yield Stage(home, backing, process, Desk(database, keys), publisher, sink, listening["port"], events, rate)


# -- phases ----------------------------------------------------------------------------------------------------------------


async def backlog(stage: Stage) -> None:
    """Deliveries from a backlog, to 1, 50 and 1,000 endpoints, and each event to 50 of them."""
    for count in (1, 50, 1000):
        places = await stage.endpoints([f"/ok/{count}-{number}" for number in range(count)])
        await _from_backlog(stage, f"backlog, {count:,} endpoints", places, stage.events, 1)
    places = await stage.endpoints([f"/ok/fan-{number}" for number in range(ENDPOINTS_PER_TENANT)])
    await stage.desk.rows("UPDATE endpoints SET location_ids = NULL WHERE enabled RETURNING 1")
    await _from_backlog(stage, "backlog, each event to 50 endpoints", places[:1], stage.events // 25, 50)


async def slow(stage: Stage) -> None:
    """Receivers that take 100 ms."""
    for count in (1, 10):
        places = await stage.endpoints([f"/slow/100/{count}-{number}" for number in range(count)])
        await _from_backlog(stage, f"receivers that take 100 ms, {count} endpoints", places, stage.events // 2, 1)


async def _from_backlog(stage: Stage, name: str, places: Sequence[Place], events: int, fan_out: int) -> None:
    """The service stands still while the backlog is made; counted is what happens between 10 % and 90 % of the arrivals."""
    payload_bytes = await stage.publish_to(places)
    warm = events // 10
    await stage.publisher.ask("publish", seconds=ANSWER_SECONDS, count=warm)
    await stage.arrived(warm * fan_out)
    await stage.recorded()
    before = await _sizes(stage)
    stage.process.popen.send_signal(19)  # type: ignore[union-attr]  # SIGSTOP
    await stage.publisher.ask("publish", seconds=ANSWER_SECONDS, count=events)
    total = events * fan_out
    stage.process.popen.send_signal(18)  # type: ignore[union-attr]  # SIGCONT
    first = await stage.sink.ask("wait", seconds=ANSWER_SECONDS, count=total // 10, patience_seconds=PATIENCE_SECONDS)
    account = stage.account()
    last = await stage.sink.ask(
        "wait", seconds=ANSWER_SECONDS * 3, count=total * 9 // 10, patience_seconds=PATIENCE_SECONDS
    )
    usage = account.usage()
    taken = await stage.arrived(total)
    await stage.recorded()
    after = await _sizes(stage)
    deliveries = last["count"] - first["count"]
    costs = usage.per_operation_us(deliveries)
    rate = deliveries / ((last["at_ns"] - first["at_ns"]) / 1e9)
    stage.note(
        name,
        deliveries_per_second=round(rate),
        cpu_us=costs,
        others=usage.foreign_share,
        repeated=taken["repeated"],
        commits_per_event=round((after["commits"] - before["commits"]) / events, 3),
        disk_bytes_per_event_and_delivery=round((after["bytes"] - before["bytes"]) / events),
        payload_bytes=payload_bytes,
        memory_mib=round(psutil.Process(stage.process.popen.pid).memory_info().rss / 2**20),  # type: ignore[union-attr]
    )


async def latency(stage: Stage) -> None:
    """Published → received, at fixed rates."""
    for rate in (200, 1000):
        places = await stage.endpoints([f"/ok/latency-{rate}-{number}" for number in range(10)])
        await stage.publish_to(places)
        await _at_rate(stage, rate, 2.0)
        account = stage.account()
        taken, sent = await _at_rate(stage, rate, 8.0)
        usage = account.usage()
        found_ms = [ns / 1e6 for _, latencies in taken["paths"].values() for ns in latencies]
        stage.note(
            f"published → received at {rate:,}/s",
            **{f"p{share * 100:.0f}_ms": round(percentile(found_ms, share), 2) for share in (0.5, 0.95, 0.99)},
            publisher_late_ms=round(sent["late_ms"], 1),
            cpu_us=usage.per_operation_us(sent["count"]),
            others=usage.foreign_share,
        )


async def _at_rate(stage: Stage, rate: int, seconds: float) -> tuple[Document, Document]:
    sent = await stage.publisher.ask(
        "publish_at_rate", seconds=seconds + ANSWER_SECONDS, rate=rate, duration_seconds=seconds
    )
    return await stage.arrived(sent["count"]), sent


async def isolation(stage: Stage) -> None:
    """Ten endpoints at a steady rate; then one of them hangs, one refuses, one drips."""
    healthy = [f"/ok/isolation-{number}" for number in range(7)]
    for name, others in (
        ("alone", ["/ok/x", "/ok/y", "/ok/z"]),
        ("three misbehave", ["/hang/0", "/refuse/0", "/drip/0"]),
    ):
        places = await stage.endpoints([*healthy, *others])
        await stage.publish_to(places)
        for measured in (False, True):
            seconds = 25.0 if measured and name != "alone" else 5.0
            sent = await stage.publisher.ask(
                "publish_at_rate", seconds=seconds + ANSWER_SECONDS, rate=stage.rate, duration_seconds=seconds
            )
            await stage.sink.ask("wait", seconds=ANSWER_SECONDS, count=10**9, patience_seconds=2.0)
            taken = await stage.sink.ask("take", seconds=ANSWER_SECONDS)
        of_healthy = [taken["paths"][path][1] for path in healthy]
        missing = sent["count"] * len(healthy) // 10 - sum(map(len, of_healthy))
        found_ms = [ns / 1e6 for latencies in of_healthy for ns in latencies]
        figures = {f"p{share * 100:.0f}_ms": round(percentile(found_ms, share), 2) for share in (0.5, 0.95, 0.99)}
        stage.note(f"ten endpoints at {stage.rate:,}/s, {name}: the seven", **figures, missing_at_the_end=missing)


async def kill(stage: Stage) -> None:
    """`kill -9` at full load, and a new start at once."""
    places = await stage.endpoints([f"/ok/kill-{number}" for number in range(10)])
    await stage.publish_to(places)
    for round_number in range(3):
        await stage.publisher.ask("publish", seconds=ANSWER_SECONDS, count=stage.events)
        await stage.sink.ask("wait", seconds=ANSWER_SECONDS, count=stage.events // 3, patience_seconds=PATIENCE_SECONDS)
        stage.process.kill9()
        open_pairs = (await stage.desk.rows("SELECT coalesce(sum(cardinality(event_ids)), 0) AS pairs FROM flights"))[
            0
        ].pairs
        started_ns = time.monotonic_ns()
        stage.process.start()
        await stage.process.ready()
        ready_ns = time.monotonic_ns()
        await stage.sink.ask("wait", seconds=ANSWER_SECONDS, count=stage.events, patience_seconds=60)
        await stage.recorded()
        taken = await stage.sink.ask("take", seconds=ANSWER_SECONDS)
        stage.note(
            f"kill -9, round {round_number + 1}",
            lost=stage.events - taken["count"],
            twice=taken["repeated"],
            in_flight=int(open_pairs),
            ready_seconds=round((ready_ns - started_ns) / 1e9, 1),
            straggler_seconds=round((taken["last_ns"] - started_ns) / 1e9, 1),
        )
        if taken["count"] < stage.events:
            raise BenchFailed(f"{stage.events - taken['count']} deliveries were lost")


async def _sizes(stage: Stage) -> dict[str, int]:
    row = (
        await stage.desk.rows(
            "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits,"
            " (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
            " WHERE relkind = 'r' AND relname ~ '^(events|deliveries|attempts)_') AS bytes"
        )
    )[0]
    return {"commits": int(row.commits), "bytes": int(row.bytes)}


async def run(phases: Sequence[str], events: int, rate: int) -> None:
    with tempfile.TemporaryDirectory(prefix="waybill-bench-") as name:
        async with set_up(Path(name), events, rate) as stage:
            for phase in phases:
                await {"backlog": backlog, "slow": slow, "latency": latency, "isolation": isolation, "kill": kill}[
                    phase
                ](stage)
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(stage.results, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a third of the events")
    parser.add_argument("--only", default=",".join(PHASES), help="phases, comma-separated")
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--rate", type=int, default=2000, help="deliveries a second where isolation is measured")
    options = parser.parse_args()
    asyncio.run(run(options.only.split(","), options.events // 3 if options.quick else options.events, options.rate))


if __name__ == "__main__":
    main()
