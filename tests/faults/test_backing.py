"""What the servers behind the tests promise, and with them the private stack that shares their code."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.devstack import broker
from tests.harness.stack import BackingStack


async def test_a_role_enters_its_own_database_only(fragile: BackingStack) -> None:
    own_url = fragile.create_database("fence_own")
    other_url = fragile.create_database("fence_other")
    other_database = other_url.rpartition("/")[2]

    connection = await asyncpg.connect(own_url)
    assert await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'") == 1
    await connection.execute("CREATE TABLE proof (id int)")
    await connection.close()

    for database in (other_database, "postgres", "template1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(own_url, database=database)


async def test_commits_are_durable_and_connections_enough(fragile: BackingStack) -> None:
    connection = await asyncpg.connect(fragile.postgres_admin_url)
    settings = {
        name: await connection.fetchval("SELECT current_setting($1)", name)
        for name in ("fsync", "synchronous_commit", "full_page_writes", "max_connections", "password_encryption")
    }
    await connection.close()

    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "max_connections": "200",
        "password_encryption": "scram-sha-256",
    }


def test_a_cluster_id_may_begin_with_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.devstack.broker._cluster_id", lambda: "-_A1b2C3d4E5f6G7h8I9jA")
    node = broker.Node(folder=tmp_path / "kafka", port=1, controller_port=2, pid_file=tmp_path / "kafka.pid")

    broker.create(node)

    assert "cluster.id=-_A1b2C3d4E5f6G7h8I9jA" in (node.data / "meta.properties").read_text()


@pytest.mark.faults
async def test_acknowledged_records_survive_a_killed_broker(fragile: BackingStack) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=fragile.kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("survivors.v1", num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=fragile.kafka_bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    for number in range(100):
        await producer.send_and_wait("survivors.v1", str(number).encode())
    await producer.stop()

    await asyncio.to_thread(fragile.kill9_kafka)
    await asyncio.to_thread(fragile.restart_kafka)

    consumer = AIOKafkaConsumer("survivors.v1", bootstrap_servers=fragile.kafka_bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    received = [int((await asyncio.wait_for(consumer.getone(), 30)).value) for _ in range(100)]
    await consumer.stop()
    assert received == list(range(100))


@pytest.mark.faults
async def test_commits_survive_a_killed_postgres(fragile: BackingStack) -> None:
    url = fragile.create_database("survivor")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    await asyncio.to_thread(fragile.kill9_postgres)
    await asyncio.to_thread(fragile.restart_postgres)

    again = await asyncpg.connect(url)
    assert await again.fetchval("SELECT answer FROM kept") == 42
    await again.close()
