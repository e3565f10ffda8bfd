"""Ceilings, a process of their own: the least that could do each part of the work, with the same libraries on the same machine.

A figure beside its ceiling says how much our own code costs; a figure alone mostly says how busy the machine was.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import uuid_utils
import uvicorn
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.children import Document, obey
from deploy.devstack.processes import free_ports
from shared.chassis.server import BACKLOG, KEEP_ALIVE_SECONDS
from shared.messaging.producer import BATCH_BYTES_MAX
from shared.messaging.relay import TURN_ROWS_MAX

POOL_CONNECTIONS = 16
PARTITIONS = 12
POLL_SECONDS = 0.05
RELAY_TOPIC = "bench.relay"
HOP_TOPIC = "bench.hop"
TOPICS = (RELAY_TOPIC, HOP_TOPIC)
SIGNING_KEY = secrets.token_bytes(32)

COPIED = ("access_credentials", "access_subjects", "access_tenants", "access_entitlements", "access_locations")
COLUMNS = """
    SELECT column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = $1 AND is_generated = 'NEVER' AND is_identity = 'NO'
    ORDER BY ordinal_position
"""
ADMIT = """
    SELECT * FROM access_credentials c JOIN access_subjects s ON s.subject_id = c.subject_id
    LEFT JOIN access_tenants t ON t.tenant_id = c.tenant_id LEFT JOIN access_entitlements e ON e.tenant_id = t.tenant_id
    WHERE c.credential_id = $1 AND c.kind = 'pair'
"""
READ_JOB = """
    SELECT id, tenant_id, merchant_id, livemode, reference_id, status, status_reason, status_changed_at, assigned_to, type, location_id,
        distribution_location_id, scheduled_date, timezone, time_window, priority, short_description, contact, address, geo, balance_owed,
        instructions, invoices, barcodes, tags, metadata, created_by, version, created_at, updated_at, deleted_at, erased_at
    FROM jobs WHERE id = $1 AND deleted_at IS NULL
"""
READ_ACTIONS = """
    SELECT id, job_id, type, position, sku, description, quantity, unit, piece_count, value, weight_grams, volume_cubic_cm,
        handling_seconds, stop, invoice_number, barcode, external_reference_id, status, outcome, version, created_at, updated_at
    FROM actions WHERE job_id = $1 ORDER BY position, id
"""
PUBLISH = "INSERT INTO outbox (shard, topic, key, headers, value) VALUES ($1, $2, $3, $4, $5)"


class Accepting:
    """A bare ASGI app that does for a job what the service does in SQL, and nothing else: no validation, no checks, no choices.

    POST writes one, GET reads one by its id.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", sample: Document, rows: Document):
        self._pool = pool
        self._account_id = sample["account_id"]
        self._answer = sample["answer"].encode()
        self._sample_id = sample["job_id"].encode()
        self._topic, self._headers, self._value = (
            sample["topic"],
            json.dumps(sample["headers"]),
            sample["value"].encode(),
        )
        self._job, self._action, self._history = rows["jobs"], rows["actions"], rows["job_history"]
        numbers = itertools.count(1)
        job, history, action = (
            f"INSERT INTO {table} ({', '.join(rows[table])}) VALUES ({', '.join(f'${next(numbers)}' for _ in rows[table])})"
            for table in ("jobs", "job_history", "actions")
        )
        self._insert = f"WITH job AS ({job}), history AS ({history}) {action}"

    async def __call__(
        self,
        scope: Document,
        receive: Callable[[], Awaitable[Document]],
        send: Callable[[Document], Awaitable[None]],
    ) -> None:
        if scope["method"] == "GET":
            await self._read(scope["path"], send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = json.loads(body)
        identity = uuid_utils.uuid7()
        name = f"job_{identity.hex[:26]}"
        job = {**self._job, "id": str(identity), "reference_id": asked["reference_id"]}
        history = {**self._history, "job_id": str(identity)}
        action = {**self._action, "id": str(uuid_utils.uuid7()), "job_id": str(identity)}
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.fetchrow(ADMIT, self._account_id)
            await connection.execute(self._insert, *job.values(), *history.values(), *action.values())
            await connection.execute(PUBLISH, identity.int % 16, self._topic, name, self._headers, self._value)
        await self._answer_with(201, self._answer.replace(self._sample_id, name.encode(), 1), send)

    async def _read(self, path: str, send: Callable[[Document], Awaitable[None]]) -> None:
        identity = uuid.UUID(path.rpartition("/")[2])
        async with self._pool.acquire() as connection:
            job = await connection.fetchrow(READ_JOB, identity)
            actions = await connection.fetch(READ_ACTIONS, identity)
        assert job is not None
        document = {**job, "actions": [dict(action) for action in actions]}
        await self._answer_with(200, json.dumps(document, default=str).encode(), send)

    async def _answer_with(self, status: int, body: bytes, send: Callable[[Document], Awaitable[None]]) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_pools: "list[asyncpg.Pool[asyncpg.Record]]" = []
_serving: list[object] = []
"""What must stay alive until the process ends."""


async def prepare(command: Document) -> Document:
    """Make the topics of the other ceilings, and serve the bare app on a copy of the service's tables; its port."""
    # Long before they are needed: a new topic has no leaders for a moment.
    await create_topics(command["bootstrap_servers"])
    sample = command["sample"]
    source = await asyncpg.connect(command["source_url"])
    pool = await asyncpg.create_pool(command["database_url"], min_size=POOL_CONNECTIONS, max_size=POOL_CONNECTIONS)
    rows: Document = {}
    for table in ("jobs", "actions", "job_history", *COPIED):
        names = [row[0] for row in await source.fetch(COLUMNS, table)]
        found = await source.fetch(f"SELECT {', '.join(names)} FROM {table} LIMIT 1000")
        rows[table] = dict(found[0])
        if table in COPIED:
            places = ", ".join(f"${place}" for place in range(1, len(names) + 1))
            await pool.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", found)
    await source.close()
    (port,) = free_ports(1)
    config = uvicorn.Config(
        Accepting(pool, sample, rows),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    # The signals stay with the bench: it ends this process by its input.
    _pools.append(pool)
    _serving.extend((server, asyncio.create_task(server._serve())))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(POLL_SECONDS)
    return {"port": port}


async def ids(command: Document) -> Document:
    """Some of the jobs that the bare app can read."""
    found = await _pools[0].fetch("SELECT id FROM jobs LIMIT $1", command["count"])
    return {"ids": [str(row["id"]) for row in found]}


async def relay(command: Document) -> Document:
    """Send `count` records like the sample, with the relay's producer settings and turns; the rate."""
    sample = command["sample"]
    value = sample["value"].encode()
    headers = [(name, text.encode()) for name, text in sample["headers"]]
    keys = [f"job_{secrets.token_hex(13)}".encode() for _ in range(command["count"])]
    producer = _producer(command["bootstrap_servers"])
    await producer.start()
    try:
        began = time.monotonic_ns()
        for start in range(0, len(keys), TURN_ROWS_MAX):
            turn = keys[start : start + TURN_ROWS_MAX]
            await asyncio.wait([await producer.send(RELAY_TOPIC, value, key, headers=headers) for key in turn])
        return {"per_second": len(keys) / ((time.monotonic_ns() - began) / 1e9)}
    finally:
        await producer.stop()


async def deliver(command: Document) -> Document:
    """POST `count` signed bodies like the sample's webhook with the service's client, `in_flight` at once; the rate."""
    sample = command["sample"]
    url, body = command["url"], sample["webhook"].encode()
    sample_id = sample["job_id"].encode()
    numbers = iter(range(command["count"]))
    run = secrets.token_hex(4)
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=0)

    async def send_some(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            name = f"job_{run}{number:018d}"
            content = body.replace(sample_id, name.encode())
            async with session.post(url, data=content, headers=_signed(f"evt_{name}", content)) as response:
                await response.read()
                assert response.status == 204, response.status

    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as session:
        began = time.monotonic_ns()
        await asyncio.gather(*(send_some(session) for _ in range(command["in_flight"])))
        return {"per_second": command["count"] / ((time.monotonic_ns() - began) / 1e9)}


async def hop(command: Document) -> Document:
    """Send `rate` records a second through Kafka for `duration_seconds`; nanoseconds from `send` to the consumer, for each."""
    servers, rate, seconds = command["bootstrap_servers"], command["rate"], command["duration_seconds"]
    value = command["sample"]["value"].encode()
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, fetch_max_wait_ms=100)
    producer = _producer(servers)
    await consumer.start()
    await producer.start()
    try:
        partitions = [TopicPartition(HOP_TOPIC, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        receiving = asyncio.create_task(_receive(consumer, round(rate * seconds)))
        began, first_ns = time.monotonic(), time.monotonic_ns()
        for number in range(round(rate * seconds)):
            if (delay := began + number / rate - time.monotonic()) > 0:
                await asyncio.sleep(delay)
            due = str(first_ns + round(number / rate * 1e9)).encode()
            await producer.send(HOP_TOPIC, value, secrets.token_bytes(8), headers=[("due", due)])
        async with asyncio.timeout(30):
            return {"latencies_ns": await receiving}
    finally:
        await producer.stop()
        await consumer.stop()


async def _receive(consumer: AIOKafkaConsumer, count: int) -> list[int]:
    latencies: list[int] = []
    while len(latencies) < count:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            now_ns = time.monotonic_ns()
            latencies.extend(now_ns - int(dict(record.headers)["due"]) for record in records)
    return latencies


def _signed(message_id: str, body: bytes) -> dict[str, str]:
    timestamp = int(time.time())
    digest = hmac.digest(SIGNING_KEY, b"%s.%d.%s" % (message_id.encode(), timestamp, body), hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def _producer(bootstrap_servers: str) -> Any:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        enable_idempotence=True,
        acks="all",
        linger_ms=0,
        max_batch_size=BATCH_BYTES_MAX,
    )


async def create_topics(bootstrap_servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=PARTITIONS, replication_factor=1) for name in TOPICS])
    finally:
        await admin.close()


if __name__ == "__main__":
    obey({"prepare": prepare, "ids": ids, "relay": relay, "deliver": deliver, "hop": hop})
