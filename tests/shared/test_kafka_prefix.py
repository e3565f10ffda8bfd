"""Installations that share a Kafka: each has topics and consumer groups of its own, whose names begin with its prefix."""

import secrets

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.messaging import consumer, faststream_adapter, outbox, subscriber, topics
from shared.messaging.lag import LagMonitor
from shared.messaging.producer import Producer, Record
from shared.messaging.relay import Relay
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from tests.harness.stack import BackingStack
from tests.harness.transport import Noted, note, noted_on, read_noted, read_records, running
from tests.harness.waiting import eventually

PREFIX, OTHER_PREFIX = "one.", "two."


@pytest.fixture
async def name(backing: BackingStack) -> str:
    """A topic of both installations, as the services call it."""
    name = f"tests.{secrets.token_hex(6)}.v1"
    described = [topics.Topic(name=one, partitions=1, replication_factor=1) for one in (name, f"{name}.dlq")]
    for prefix in (PREFIX, OTHER_PREFIX):
        created = await topics.apply(backing.kafka_bootstrap, described, prefix=prefix)
        assert created.changes == [f"created {prefix}{one.name}" for one in described]
    return name


async def test_events_are_relayed_consumed_and_proven_under_the_prefix_alone(
    backing: BackingStack, database: Database, name: str
) -> None:
    bootstrap, metrics = backing.kafka_bootstrap, Metrics("tests")
    seen: dict[str, list[str]] = {PREFIX: [], OTHER_PREFIX: []}
    broker = faststream_adapter.PrefetchingBroker(bootstrap, client_id="tests")

    def subscription(prefix: str) -> subscriber.Subscription[Noted]:
        async def handle(session: AsyncSession, events: list[Noted]) -> None:
            seen[prefix] += [event.data.note for event in events]

        return subscriber.subscribe(
            broker,
            topic=name,
            group="tests",
            read=read_noted,
            handle=handle,
            database=database,
            metrics=metrics,
            prefix=prefix,
        )

    subscriptions = [subscription(prefix) for prefix in seen]
    outbox.attach(database, None)
    relay = Relay(database, bootstrap_servers=bootstrap, metrics=metrics, prefix=PREFIX, poll_seconds=0.02)
    progress = LagMonitor(
        database,
        bootstrap_servers=bootstrap,
        subscriptions=subscriptions[:1],
        metrics=metrics,
        interval_seconds=0.1,
    )

    async with running(consumer.Consumers(broker, subscriptions).run, relay.run, progress.run):
        async with database.transaction() as session:
            outbox.publish(session, note(noted_on(name), "one key", 1, "hello"))
        await eventually(lambda: seen[PREFIX] == ["hello"])
        await eventually(lambda: _is_proven(database, name))

    assert seen[OTHER_PREFIX] == []
    assert [one.group_id for one in subscriptions] == [f"{prefix}tests.{name}" for prefix in seen]


async def test_dead_letters_stay_with_their_installation(backing: BackingStack, database: Database, name: str) -> None:
    async def handle(session: AsyncSession, events: list[Noted]) -> None: ...

    broker = faststream_adapter.PrefetchingBroker(backing.kafka_bootstrap, client_id="tests")
    subscription = subscriber.subscribe(
        broker,
        topic=name,
        group="tests",
        read=read_noted,
        handle=handle,
        database=database,
        metrics=Metrics("tests"),
        prefix=PREFIX,
    )
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    event = note(noted_on(name), "one key", 1)
    await producer.send([Record(f"{PREFIX}{name}", b"one key", b"not JSON", event.headers())])
    await producer.close()

    async with running(consumer.Consumers(broker, [subscription]).run):
        (letter,) = await read_records(backing.kafka_bootstrap, f"{PREFIX}{name}.dlq", count=1, partitions=1)

    assert letter.value == b"not JSON"


async def _is_proven(database: Database, name: str) -> bool:
    """Whether the consumer is known to have handled everything of the topic, which the services call by its name alone."""
    async with database.reading() as session:
        found = await session.execute(
            text("SELECT count(*) FROM consumer_progress WHERE consumer = 'tests' AND topic = :name"), {"name": name}
        )
        return bool(found.scalar_one())
