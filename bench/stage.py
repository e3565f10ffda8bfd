"""The stage of the bench: PostgreSQL, Kafka, four services, generator and receiver, each a process; all are stopped at the end."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.children import Child, Document
from bench.cpu import Account
from bench.load import CREATED, NUMBER_MARK
from deploy.devstack.processes import find
from shared.events import jobs as job_events
from shared.postgres.migrations import migrate
from tests.harness.bodies import smallest_job
from tests.harness.client import Api
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack, start_private_stack
from tests.harness.suite import Suite
from tests.harness.waiting import eventually

ENVIRONMENT = {
    "WAYBILL_CREDENTIAL_RATE_PER_SECOND": "1000000",
    "WAYBILL_TENANT_RATE_PER_SECOND": "1000000",
    "WAYBILL_LOG_LEVEL": "WARNING",
    # Parts run without the consumers that would prove from time to time that access data are current.
    "WAYBILL_ACCESS_MAX_STALENESS_SECONDS": "3600",
}
JOB = json.dumps(
    smallest_job(
        reference_id=NUMBER_MARK,
        actions=[{"type": "delivery", "description": "Sofa, three seats", "quantity": 1, "sku": "S-100"}],
    ),
    ensure_ascii=False,
)
ALL_ROLES = "api,consumers,relay,worker"
ANSWER_SECONDS = 60.0
# How long the generator waits for answers after its time is up, and some.
DRAIN_SECONDS = 45.0
CONNECTIONS = 48
PATIENCE_SECONDS = 10.0
UNAVAILABLE = 503


class BenchFailed(Exception):
    """What was measured is not what should have been measured."""


@dataclass(slots=True)
class Stage:
    """Everything that a phase of the bench works with."""

    home: Path
    backing: BackingStack
    suite: Suite
    load: Child
    sink: Child
    ceilings: Child
    tenant: Tenant
    merchant: Api
    sink_url: str
    sample: Document
    ceiling_port: int

    def account(self, *services: str) -> Account:
        """Processor time from now on, of these services (default: all) and of whatever else takes part."""
        names = services or tuple(self.suite.processes)
        processes = {name: psutil.Process(pid_of(self.suite, name)) for name in names}
        for name in ("postgres", "kafka"):
            found = find(self.home / f"{name}.pid")
            if found is None:
                raise BenchFailed(f"{name} is not running")
            processes[name] = found
        return Account({**processes, "generator": self.load.measured, "receiver": self.sink.measured})

    async def run_as(self, name: str, roles: str) -> None:
        """Run this service anew, with these roles."""
        await self.stop(name)
        environment = {**self.suite.environment, "WAYBILL_ROLES": roles}
        process = replace(self.suite.processes[name], environment=environment, popen=None)
        self.suite.processes[name] = process
        process.start()
        await process.ready()

    async def stop(self, name: str) -> None:
        """Stop this service in order."""
        if self.suite.processes[name].popen is not None:
            await asyncio.to_thread(self.suite.processes[name].stop)

    async def send(
        self,
        how: str,
        *,
        seconds: float,
        keyed: bool = False,
        port: int | None = None,
        paths: Sequence[str] = (),
        **more: Any,
    ) -> Document:
        """Have jobs posted, or `paths` read (`closed` or `open` loop), at the jobs service or at `port`. Raises when any was refused."""
        answer = await self.load.ask(
            how,
            seconds=seconds + DRAIN_SECONDS,
            **{
                "host": "127.0.0.1",
                "port": port or int(self.suite.urls["jobs"].rpartition(":")[2]),
                "path": "/v1/jobs",
                "headers": self.merchant.headers,
                "body": JOB,
                "keyed": keyed,
                "mark": secrets.token_hex(4),
                "connections": CONNECTIONS,
                "duration_seconds": seconds,
                "paths": list(paths),
                **more,
            },
        )
        if answer["statuses"] != {"200" if paths else "201": answer["sent"]}:
            raise BenchFailed(f"not every request was answered as it should be: {answer['statuses']}")
        return answer

    async def arrived(self, count: int) -> Document:
        """Wait until that many jobs have arrived at the receiver, while any arrive; when each did. Raises when some are missing."""
        await self.sink.ask("wait", seconds=ANSWER_SECONDS * 3, count=count, patience_seconds=PATIENCE_SECONDS)
        taken = await self.sink.ask("take", seconds=ANSWER_SECONDS)
        if len(taken["first_ns"]) < count:
            raise BenchFailed(f"{len(taken['first_ns'])} of {count} webhooks arrived")
        return taken

    async def written(self) -> tuple[int, int]:
        """Commits and bytes of write-ahead log of the whole server so far."""
        connection = await asyncpg.connect(self.backing.postgres_admin_url)
        try:
            commits = await connection.fetchval("SELECT sum(xact_commit)::bigint FROM pg_stat_database")
            log_bytes = await connection.fetchval("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")
        finally:
            await connection.close()
        return int(commits), int(log_bytes)


@asynccontextmanager
async def set_up(home: Path) -> AsyncIterator[Stage]:
    """The stage, ready; everything that was started is stopped, however the block ends."""
    async with AsyncExitStack() as cleanup:
        backing = start_private_stack(home)
        cleanup.push_async_callback(asyncio.to_thread, backing.stop)
        suite = await asyncio.to_thread(Suite, backing, home, ENVIRONMENT)
        cleanup.push_async_callback(suite.stop)
        await suite.start()
        children = [await _child(cleanup, module) for module in ("bench.load", "bench.sink", "bench.ceilings")]
        load, sink, ceilings = children
        sink_url = f"http://127.0.0.1:{(await sink.ask('listen', seconds=ANSWER_SECONDS))['port']}/"
        tenant = await suite.create_tenant()
        merchant = await (await tenant.create_merchant()).reveal()
        await tenant.create_endpoint(sink_url, event_types=["job.*"])
        sample = await _sample(suite, merchant, sink)
        copy_url = await _migrated_copy(backing)
        served = await ceilings.ask(
            "prepare",
            seconds=ANSWER_SECONDS,
            bootstrap_servers=backing.kafka_bootstrap,
            sample=sample,
            source_url=suite.databases["jobs"],
            database_url=copy_url,
        )
        yield Stage(home, backing, suite, load, sink, ceilings, tenant, merchant, sink_url, sample, served["port"])


@asynccontextmanager
async def watching(suite: Suite) -> AsyncIterator["Watcher"]:
    """A look at how many events of jobs Kafka has."""
    consumer = AIOKafkaConsumer(bootstrap_servers=suite.environment["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"])
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        yield Watcher(consumer)
    finally:
        await consumer.stop()


@dataclass(slots=True)
class Watcher:
    consumer: AIOKafkaConsumer

    async def count(self) -> int:
        """Events of jobs that Kafka has."""
        partitions = self.consumer.partitions_for_topic(job_events.TOPIC) or set()
        ends = await self.consumer.end_offsets([TopicPartition(job_events.TOPIC, number) for number in partitions])
        return sum(ends.values())


async def _child(cleanup: AsyncExitStack, module: str) -> Child:
    child = await Child.start(module)
    cleanup.push_async_callback(child.stop)
    return child


async def _sample(suite: Suite, merchant: Api, sink: Child) -> Document:
    """One job as it is answered, published and delivered: what the ceilings work with."""

    async def accepted() -> httpx.Response | None:
        answer = await merchant.at("jobs").post("/v1/jobs", json.loads(JOB))
        if answer.status_code == UNAVAILABLE:
            return None
        if answer.status_code != CREATED:
            raise BenchFailed(f"a job was not accepted: {answer.status_code} {answer.text}")
        return answer

    # The merchant's location may become known a moment later than the merchant.
    made = await eventually(accepted, what="a job is accepted")
    record = await _first_event(suite)
    await sink.ask("wait", seconds=ANSWER_SECONDS, count=1, patience_seconds=PATIENCE_SECONDS)
    await sink.ask("take", seconds=ANSWER_SECONDS)
    value = record.value.decode()
    account_id = base64.b64decode(merchant.headers["Authorization"].partition(" ")[2]).decode().partition(":")[0]
    return {
        "answer": made.text,
        "job_id": made.json()["id"],
        "account_id": account_id,
        "topic": job_events.TOPIC,
        "headers": [(name, text.decode()) for name, text in record.headers],
        "value": value,
        "webhook": f'{{"type":"job.created","timestamp":"2026-01-01T00:00:00.000000Z","data":{value}}}',
    }


async def _first_event(suite: Suite) -> Any:
    servers = suite.environment["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"]
    consumer = AIOKafkaConsumer(job_events.TOPIC, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return await asyncio.wait_for(consumer.getone(), ANSWER_SECONDS)
    finally:
        await consumer.stop()


async def _migrated_copy(backing: BackingStack) -> str:
    """A second database with the tables of jobs, for the bare app."""
    url = await asyncio.to_thread(backing.create_database, "ceiling")
    await asyncio.to_thread(migrate, "jobs", url)
    return url


def pid_of(suite: Suite, name: str) -> int:
    popen = suite.processes[name].popen
    if popen is None:
        raise BenchFailed(f"{name} is not running")
    return popen.pid
