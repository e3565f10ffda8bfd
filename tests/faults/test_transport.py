"""The transport when its servers are killed: nothing that was committed is missing afterwards, and all goes on by itself."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import Event, Vocabulary
from shared.messaging import consumer, faststream_adapter, outbox, subscriber
from shared.messaging.lag import LagMonitor
from shared.messaging.relay import Relay
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from tests.harness.stack import BackingStack
from tests.harness.transport import Noted, new_topic, note, noted_on, running, shared_database
from tests.harness.waiting import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240, func_only=True)]

RECOVERY_SECONDS = 60.0
KEYS = 20


@pytest.fixture
async def database(fragile: BackingStack) -> AsyncIterator[Database]:
    async with shared_database(fragile) as database:
        async with database.transaction() as session:
            await session.execute(text("CREATE TABLE handled (place bigint GENERATED ALWAYS AS IDENTITY, note text)"))
        yield database


@pytest.fixture(autouse=True)
async def nothing_stays() -> AsyncIterator[None]:
    """Whatever broke, no client of Kafka's goes on beside its successor, or after the end."""
    yield
    left = [
        task
        for task in asyncio.all_tasks()
        if (code := getattr(task.get_coro(), "cr_code", None)) is not None and "aiokafka" in code.co_filename
    ]
    assert left == []


class Traffic:
    """Events written at a steady pace while things break; those whose commit succeeded are remembered."""

    def __init__(self, database: Database, topic: str):
        self._database = database
        self._kind = noted_on(topic)
        self.committed: list[str] = []

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            event = note(self._kind, f"key-{number % KEYS}", number, f"{number:06}")
            try:
                async with self._database.transaction() as session:
                    outbox.publish(session, event)
                self.committed.append(event.data.note)
            except Exception:
                # PostgreSQL is away: whether this one was committed is not known, so nothing is said about it.
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.003)


class Pipeline:
    """All of one service's transport around one database and one topic."""

    def __init__(self, stack: BackingStack, database: Database, topic: str):
        self.metrics = Metrics("faults")
        self.relay = Relay(database, bootstrap_servers=stack.kafka_bootstrap, metrics=self.metrics)
        outbox.attach(database, self.relay.wake)
        broker = faststream_adapter.PrefetchingBroker(stack.kafka_bootstrap, client_id="faults")
        subscription = subscriber.subscribe(
            broker,
            topic=topic,
            group="faults",
            read=Vocabulary(Noted).read,
            handle=self._handle,
            database=database,
            metrics=self.metrics,
        )
        self.consumers = consumer.Consumers(broker, [subscription])
        self.progress = LagMonitor(
            database,
            bootstrap_servers=stack.kafka_bootstrap,
            subscriptions=[subscription],
            metrics=self.metrics,
            interval_seconds=0.2,
        )
        self._database = database

    async def _handle(self, session: AsyncSession, events: list[Event]) -> None:
        words = [event.data.note for event in events]
        await session.execute(
            text("INSERT INTO handled (note) SELECT unnest(CAST(:words AS text[]))"), {"words": words}
        )

    async def handled(self) -> list[str]:
        async with self._database.reading() as session:
            return list((await session.execute(text("SELECT note FROM handled ORDER BY place"))).scalars())

    async def has_handled(self, wanted: list[str]) -> bool:
        return set(wanted) <= set(await self.handled())


def first_time_in_order(handled: list[str]) -> bool:
    """Whether each key's events came in order, counting each where it came first."""
    for key in range(KEYS):
        mine = [int(note) for note in dict.fromkeys(handled) if int(note) % KEYS == key]
        if mine != sorted(mine):
            return False
    return True


async def test_the_broker_is_killed_in_full_flight_and_started_again(fragile: BackingStack, database: Database) -> None:
    topic = await new_topic(fragile)
    pipeline, traffic = Pipeline(fragile, database, topic), Traffic(database, topic)

    async with running(pipeline.relay.run, pipeline.consumers.run, pipeline.progress.run):
        async with running(traffic.run):
            await eventually(lambda: pipeline.has_handled(["000100"]))
            await asyncio.to_thread(fragile.kill9_kafka)
            before = len(traffic.committed)
            await asyncio.sleep(4)
            # Writers do not notice.
            await eventually(lambda: len(traffic.committed) > before + 100)
            await asyncio.to_thread(fragile.restart_kafka)
            restarted = time.monotonic()
            await asyncio.sleep(1)
        await eventually(lambda: pipeline.has_handled(traffic.committed), seconds=RECOVERY_SECONDS)
        recovery_seconds = time.monotonic() - restarted
        await eventually(lambda: _lag_is_zero(pipeline, topic), seconds=RECOVERY_SECONDS)

    handled = await pipeline.handled()
    assert first_time_in_order(handled)
    assert recovery_seconds < faststream_adapter.SESSION_TIMEOUT_MS / 1000, (
        "nobody waits for the place of a consumer that is gone"
    )
    print(
        f"\nbroker back: last straggler after {recovery_seconds:.1f} s, {len(handled) - len(set(handled))} handled twice"
    )


async def _lag_is_zero(pipeline: Pipeline, topic: str) -> bool:
    labels = {"consumer": "faults", "topic": topic}
    return pipeline.metrics.registry.get_sample_value("waybill_consumer_lag_records", labels) == 0


async def test_the_service_starts_while_kafka_is_away(fragile: BackingStack, database: Database) -> None:
    topic = await new_topic(fragile)
    pipeline, traffic = Pipeline(fragile, database, topic), Traffic(database, topic)
    await asyncio.to_thread(fragile.kill9_kafka)
    try:
        async with running(pipeline.relay.run, pipeline.consumers.run, pipeline.progress.run):
            async with running(traffic.run):
                await asyncio.sleep(2)
                await eventually(lambda: len(traffic.committed) > 100)
                assert not pipeline.consumers.ready
            await asyncio.to_thread(fragile.restart_kafka)
            await eventually(lambda: pipeline.consumers.ready, seconds=RECOVERY_SECONDS)
            await eventually(lambda: pipeline.has_handled(traffic.committed), seconds=RECOVERY_SECONDS)
    finally:
        await asyncio.to_thread(fragile.restart_kafka)

    assert first_time_in_order(await pipeline.handled())


async def test_postgresql_is_killed_in_full_flight_and_started_again(fragile: BackingStack, database: Database) -> None:
    topic = await new_topic(fragile)
    pipeline, traffic = Pipeline(fragile, database, topic), Traffic(database, topic)

    async with running(pipeline.relay.run, pipeline.consumers.run, pipeline.progress.run):
        async with running(traffic.run):
            await eventually(lambda: pipeline.has_handled(["000100"]))
            await asyncio.to_thread(fragile.kill9_postgres)
            await asyncio.sleep(2)
            await asyncio.to_thread(fragile.restart_postgres)
            before = len(traffic.committed)
            await eventually(lambda: len(traffic.committed) > before + 100)
        await eventually(lambda: pipeline.has_handled(traffic.committed), seconds=RECOVERY_SECONDS)

    assert first_time_in_order(await pipeline.handled())


async def test_everything_stops_within_its_bounds_while_kafka_is_away(
    fragile: BackingStack, database: Database
) -> None:
    topic = await new_topic(fragile)
    pipeline, traffic = Pipeline(fragile, database, topic), Traffic(database, topic)
    try:
        async with running(pipeline.relay.run, pipeline.consumers.run, pipeline.progress.run):
            async with running(traffic.run):
                await eventually(lambda: pipeline.has_handled(["000050"]))
                await asyncio.to_thread(fragile.kill9_kafka)
                await asyncio.sleep(1)
            started = time.monotonic()
        assert time.monotonic() - started < 9
    finally:
        await asyncio.to_thread(fragile.restart_kafka)
