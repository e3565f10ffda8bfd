"""The stage of the bench: PostgreSQL, Kafka, the service, publisher, receivers and ceilings, each in a process of its own."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil

from bench.children import Child, Document
from bench.cpu import Account, Usage
from bench.figures import Figure, Results
from deploy.devstack.processes import LOOPBACK, find, free_ports
from shared.events import jobs
from shared.ids import new_id, to_uuid
from tests.harness.bodies import SIGNING_ROOT, secret_32
from tests.harness.services import open_database
from tests.harness.stack import BackingStack, make_topics, migrated, start_private_stack
from tests.harness.suite import Process
from tests.harness.webhooks import DeliveryHarness, headers_of, job_created

ENDPOINTS_PER_TENANT = 50
ANSWER_SECONDS = 120.0
PATIENCE_SECONDS = 15.0
RECORDED_SECONDS = 60.0
LOOK_SECONDS = 0.02
COUNTED = ("webhooks", "postgres", "kafka")
"""Processes whose processor time is the cost of a delivery; that of publisher and receivers is shown apart."""

Source = tuple[str, str]
"""A tenant and a location: the source of an event."""

_OPEN = """
    SELECT (SELECT count(*) FROM flights)
        + (SELECT count(*) FROM delivery_due q JOIN endpoints p ON p.id = q.endpoint_id WHERE p.enabled)
"""
_IN_FLIGHT = """
    SELECT (SELECT count(*) FROM flights, unnest(event_ids, endpoint_ids) AS p (event_id, endpoint_id) WHERE NOT EXISTS (
            SELECT FROM deliveries d WHERE d.event_id = p.event_id AND d.endpoint_id = p.endpoint_id AND d.status <> 'pending'))
        + (SELECT count(*) FROM delivery_due WHERE lease_token IS NOT NULL)
"""
_TABLE_BYTES = """
    SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relname ~ '^(events|deliveries|attempts)_'
"""
# Only statements of the service's role, without those that begin and end transactions: the bench uses another role.
_STATEMENTS = """
    SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE toplevel AND userid = $1::text::regrole
        AND query !~* '^\\s*(begin|start|commit|rollback|savepoint|release|set|reset|show|listen|unlisten|deallocate|close)\\M'
"""


class BenchFailed(Exception):
    """The run did not measure what it should have."""


@dataclass(slots=True)
class Stage:
    """What a phase works with."""

    home: Path
    backing: BackingStack
    process: Process
    harness: DeliveryHarness
    publisher: Child
    sink: Child
    ceilings: Child
    port: int
    database_url: str
    results: Results
    watching: dict[str, asyncpg.Connection] = field(default_factory=dict)
    """Connections as the superuser, by database."""

    # -- figures ---------------------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        unit: str,
        *rounds: float,
        ceiling: Sequence[float] = (),
        ceiling_name: str = "",
        at_most: float | None = None,
        at_least: float | None = None,
        times: float | None = None,
    ) -> None:
        """Add a figure. `at_most` and `at_least` are its aims; `times` is the aim of its ratio to the ceiling."""
        aims, met = [], []
        figure = Figure(name, unit, rounds, ceiling, ceiling_name)
        if at_most is not None:
            aims.append(f"≤ {at_most:,g}")
            met.append(figure.value <= at_most)
        if at_least is not None:
            aims.append(f"≥ {at_least:,g}")
            met.append(figure.value >= at_least)
        if times is not None and figure.ratio is not None:
            aims.append(f"≤ {times:g} ×")
            met.append(figure.ratio <= times)
        whole = Figure(name, unit, rounds, ceiling, ceiling_name, ", ".join(aims), all(met) if met else None)
        self.results.figures.append(whole)
        beside = "" if whole.ceiling is None else f" ({ceiling_name}: {whole.ceiling:,.1f})"
        verdict = {True: ", met", False: ", NOT met", None: ""}[whole.met]
        say(f"{name}: {whole.value:,.1f} {unit}{beside} {whole.aim}{verdict}")

    def add_cost(self, name: str, usage: Usage, operations: int) -> float:
        """Add the cost of one operation, by process. Returns microseconds of the processes that count."""
        costs = usage.per_operation_us(operations)
        total = round(sum(costs[counted] for counted in COUNTED), 1)
        del costs["total"]
        self.results.costs_us[name] = {**costs, "first three": total}
        self.results.foreign_shares[name] = usage.foreign_share
        return total

    # -- processes -------------------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        if self.process.popen is None:
            raise BenchFailed("webhooks is not running")
        return self.process.popen.pid

    @property
    def memory_mib(self) -> float:
        """Resident memory of the service."""
        return psutil.Process(self.pid).memory_info().rss / 2**20

    def account(self) -> Account:
        """Measure processor time from now on."""
        processes = {"webhooks": psutil.Process(self.pid)}
        for name in ("postgres", "kafka"):
            found = find(self.home / f"{name}.pid")
            if found is None:
                raise BenchFailed(f"{name} is not running")
            processes[name] = found
        return Account({**processes, "publisher": self.publisher.measured, "receivers": self.sink.measured})

    async def stop(self) -> None:
        """Stop the service in order (SIGTERM)."""
        await asyncio.to_thread(self.process.stop)

    async def start(self) -> None:
        """Start the service; returns when it is ready."""
        self.process.start()
        await self.process.ready()

    async def clear(self) -> None:
        """Delete all events and deliveries, and those in the memory of the service."""
        await self.stop()
        await self.watch("TRUNCATE events, deliveries, attempts, delivery_due, flights")
        await self.start()
        await self.sink.ask("take", seconds=ANSWER_SECONDS)

    # -- endpoints and events ------------------------------------------------------------------------------------------------

    async def endpoints(self, paths: Sequence[str]) -> list[Source]:
        """Replace all endpoints by new ones in new tenants, one location for each path. Returns the sources of their events."""
        await self.harness.rows("UPDATE endpoints SET enabled = false, updated_at = now() WHERE enabled RETURNING 1")
        sources = []
        for number, path in enumerate(paths):
            if number % ENDPOINTS_PER_TENANT == 0:
                self.harness.tenant_id = new_id("ten")
            endpoint_id = await self.harness.endpoint(f"http://{LOOPBACK}:{self.port}{path}")
            location_id = new_id("loc")
            await self.harness.rows(
                "UPDATE endpoints SET location_ids = ARRAY[CAST(:location_id AS uuid)] WHERE id = :id RETURNING 1",
                location_id=to_uuid(location_id),
                id=to_uuid(endpoint_id),
            )
            sources.append((self.harness.tenant_id, location_id))
        return sources

    async def publish_to(self, sources: Sequence[Source]) -> int:
        """Publish events of these sources in turn from now on. Returns the length of one body in bytes."""
        prepared = await self.publisher.ask(
            "prepare",
            seconds=ANSWER_SECONDS,
            bootstrap_servers=self.backing.kafka_bootstrap,
            topic=jobs.TOPIC,
            samples=samples(sources),
        )
        return int(prepared["payload_bytes"])

    async def publish(self, count: int) -> None:
        await self.publisher.ask("publish", seconds=ANSWER_SECONDS, count=count)

    async def publish_at_rate(self, rate: int, seconds: float) -> Document:
        return await self.publisher.ask(
            "publish_at_rate", seconds=seconds + ANSWER_SECONDS, rate=rate, duration_seconds=seconds
        )

    async def wait(
        self, count: int, *, patience_seconds: float = PATIENCE_SECONDS, paths: Sequence[str] = ()
    ) -> Document:
        """Wait until `count` deliveries have arrived (at these paths), or none has for a while. Returns how many have."""
        return await self.sink.ask(
            "wait", seconds=ANSWER_SECONDS * 5, count=count, patience_seconds=patience_seconds, paths=list(paths)
        )

    async def arrived(self, count: int, *, patience_seconds: float = PATIENCE_SECONDS) -> Document:
        """Wait until `count` deliveries have arrived; return them. Raises if some are missing."""
        await self.wait(count, patience_seconds=patience_seconds)
        taken = await self.sink.ask("take", seconds=ANSWER_SECONDS)
        if taken["count"] < count:
            raise BenchFailed(f"{taken['count']} of {count} deliveries arrived")
        return taken

    # -- the database ----------------------------------------------------------------------------------------------------------

    async def watch(self, query: str, *values: object, database: str = "") -> Any:
        """The first value of a query, as the superuser."""
        connection = self.watching.get(database)
        if connection is None or connection.is_closed():
            url = self.backing.postgres_admin_url
            name = database or urlsplit(self.database_url).path.lstrip("/")
            connection = await asyncpg.connect(url, database=name, command_timeout=3600)
            self.watching[database] = connection
        return await connection.fetchval(query, *values)

    async def recorded(self) -> None:
        """Wait until no delivery is in flight or queued."""
        for _ in range(round(RECORDED_SECONDS / LOOK_SECONDS)):
            if await self.watch(_OPEN) == 0:
                return
            await asyncio.sleep(LOOK_SECONDS)
        raise BenchFailed("not everything was recorded")

    async def in_flight(self) -> int:
        """Deliveries that are leased and not recorded."""
        return int(await self.watch(_IN_FLIGHT))

    async def table_bytes(self) -> int:
        """Bytes of events, deliveries and attempts on the disk, with their indexes."""
        return int(await self.watch(_TABLE_BYTES))

    async def statements(self) -> int:
        """Number of statements of the service so far."""
        role = urlsplit(self.database_url).username
        return int(await self.watch(_STATEMENTS, role, database="postgres"))

    async def close(self) -> None:
        for connection in self.watching.values():
            connection.terminate()


def samples(sources: Sequence[Source]) -> list[list[object]]:
    """An event of each source: its headers and its value."""
    events = [job_created(tenant_id, location_id) for tenant_id, location_id in sources]
    return [[list(headers_of(event).items()), event.value().decode()] for event in events]


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@asynccontextmanager
async def set_up(home: Path, results: Results) -> AsyncIterator[Stage]:
    """The stage, ready. Everything that was started is stopped at the end of the block."""
    async with AsyncExitStack() as cleanup:
        backing = start_private_stack(home)
        cleanup.push_async_callback(asyncio.to_thread, backing.stop)
        await asyncio.to_thread(lambda: backing.postgres_admin_url)
        await _count_statements(backing)
        url = await asyncio.to_thread(migrated, backing, "webhooks")
        bootstrap = await asyncio.to_thread(lambda: backing.kafka_bootstrap)
        await make_topics(bootstrap, prefix="")
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
            "WAYBILL_SIGNING_ROOTS": SIGNING_ROOT.public_text,
            "WAYBILL_LOG_LEVEL": "WARNING",
            # A replica that is killed and started again gets its partitions at once.
            "WAYBILL_INSTANCE": f"bench-{secrets.token_hex(4)}",
        }
        process = Process("webhooks", environment, home / "webhooks.log", f"http://{LOOPBACK}:{port}")
        process.start()
        cleanup.push_async_callback(asyncio.to_thread, process.stop)
        await process.ready()
        database = open_database(url)
        cleanup.push_async_callback(database.close)
        children = []
        for module in ("bench.webhook_traffic", "bench.webhook_sink", "bench.webhook_ceilings"):
            children.append(await Child.start(module))
            cleanup.push_async_callback(children[-1].stop)
        publisher, sink, ceilings = children
        listening = await sink.ask("listen", seconds=ANSWER_SECONDS)
        await ceilings.ask("prepare", seconds=ANSWER_SECONDS, bootstrap_servers=bootstrap)
        harness = DeliveryHarness(database, keys)
        stage = Stage(home, backing, process, harness, publisher, sink, ceilings, listening["port"], url, results)
        cleanup.push_async_callback(stage.close)
        yield stage


async def _count_statements(backing: BackingStack) -> None:
    """Make PostgreSQL count statements, by a module that it loads when it starts."""
    connection = await asyncpg.connect(backing.postgres_admin_url)
    await connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    await connection.close()
    await asyncio.to_thread(backing.stop_postgres)
    await asyncio.to_thread(backing.restart_postgres)
    connection = await asyncpg.connect(backing.postgres_admin_url)
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    await connection.close()
