"""The prefetching consumer: it announces a new record once, before its batch, unless another consumer may have handled it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from shared.messaging import consumer, faststream_adapter, subscriber
from shared.messaging.prefetching_consumer import ANNOUNCED_RECORDS_MAX
from shared.messaging.producer import Producer, Record
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from tests.harness.stack import BackingStack
from tests.harness.transport import COMMITTED_SECONDS, Noted, new_topic, note, noted_on, read_noted, running
from tests.harness.waiting import WAIT_SECONDS, eventually


class Announcements:
    """Collects what is announced, and then handles batches, as slowly as a test wants."""

    def __init__(self) -> None:
        self.announced: list[str] = []
        self.handled: list[str] = []
        self.may_handle = asyncio.Event()
        self.may_handle.set()
        self.handling = asyncio.Event()
        self.failures_left = 0

    def on_new_records(self, events: Sequence[Noted]) -> None:
        self.announced += [event.data.note for event in events]

    async def handle(self, session: AsyncSession, events: list[Noted]) -> None:
        self.handling.set()
        await self.may_handle.wait()
        if self.failures_left:
            self.failures_left -= 1
            raise OSError("not yet")
        self.handled += [event.data.note for event in events]


@asynccontextmanager
async def consuming(backing: BackingStack, database: Database, topic: str, seen: Announcements) -> AsyncIterator[None]:
    broker = faststream_adapter.PrefetchingBroker(backing.kafka_bootstrap, client_id="tests")
    subscription = subscriber.subscribe(
        broker,
        topic=topic,
        group="tests",
        read=read_noted,
        handle=seen.handle,
        on_new_records=seen.on_new_records,
        database=database,
        metrics=Metrics("tests"),
    )
    consumers = consumer.Consumers(broker, [subscription])
    async with running(consumers.run):
        await eventually(lambda: consumers.ready)
        yield


async def publish(backing: BackingStack, topic: str, *words: str, key: str = "one key") -> None:
    kind = noted_on(topic)
    events = [note(kind, key, number, word) for number, word in enumerate(words, 1)]
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    try:
        outcomes = await producer.send([Record(topic, key.encode(), one.value(), one.headers()) for one in events])
    finally:
        await producer.close()
    assert outcomes == [None] * len(words)


async def settled(backing: BackingStack, topic: str, seen: Announcements) -> None:
    """Returns when the consumer announces what is published from now on."""
    markers = 0
    while not seen.announced:
        markers += 1
        await publish(backing, topic, "marker")
        await eventually(lambda: len(seen.handled) >= markers)  # noqa: B023 - awaited in this turn
    seen.announced.clear()
    seen.handled.clear()


async def test_a_record_is_announced_while_an_earlier_batch_is_being_handled(
    backing: BackingStack, database: Database
) -> None:
    topic, seen = await new_topic(backing), Announcements()
    async with consuming(backing, database, topic, seen):
        await settled(backing, topic, seen)
        seen.may_handle.clear()
        await publish(backing, topic, "first")
        await eventually(lambda: seen.announced == ["first"])
        await publish(backing, topic, "second", "third")

        await eventually(lambda: seen.announced == ["first", "second", "third"])
        assert seen.handled == []
        seen.may_handle.set()
        await eventually(lambda: seen.handled == ["first", "second", "third"])
    assert seen.announced == ["first", "second", "third"]


async def test_what_was_published_before_is_not_announced(backing: BackingStack, database: Database) -> None:
    topic = await new_topic(backing)
    await publish(backing, topic, *(f"old {number}" for number in range(20)))
    first, second = Announcements(), Announcements()

    async with consuming(backing, database, topic, first):
        await eventually(lambda: len(first.handled) == 20)
    async with consuming(backing, database, topic, second):
        await publish(backing, topic, "new")
        await eventually(lambda: "new" in second.handled)
        await settled(backing, topic, second)

    assert first.announced == []


async def test_a_batch_that_fails_is_not_announced_again(backing: BackingStack, database: Database) -> None:
    topic, seen = await new_topic(backing), Announcements()
    async with consuming(backing, database, topic, seen):
        await settled(backing, topic, seen)
        seen.failures_left = 3
        await publish(backing, topic, "a", "b", "c")

        await eventually(lambda: seen.handled == ["a", "b", "c"])
        assert seen.failures_left == 0
        assert seen.announced == ["a", "b", "c"]


async def test_a_long_queue_is_not_announced_and_all_of_it_is_handled_in_order(
    backing: BackingStack, database: Database
) -> None:
    topic, seen = await new_topic(backing), Announcements()
    words = [str(number) for number in range(5000)]
    async with consuming(backing, database, topic, seen):
        await settled(backing, topic, seen)
        seen.may_handle.clear()
        seen.handling.clear()
        await publish(backing, topic, "first")
        await asyncio.wait_for(seen.handling.wait(), WAIT_SECONDS)
        await publish(backing, topic, *words)
        seen.may_handle.set()
        await eventually(lambda: len(seen.handled) == len(words) + 1)

    assert seen.handled == ["first", *words]
    assert len(seen.announced) == len(set(seen.announced))
    assert set(seen.announced) <= {"first", *words}
    assert len(seen.announced) <= ANNOUNCED_RECORDS_MAX * 4


async def test_what_was_announced_is_handled_before_a_consumer_stops(
    backing: BackingStack, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.prefetching_consumer.LAST_COMMIT_SECONDS", COMMITTED_SECONDS)
    topic, seen = await new_topic(backing), Announcements()
    async with consuming(backing, database, topic, seen):
        await settled(backing, topic, seen)
        seen.may_handle.clear()
        await publish(backing, topic, "first")
        await eventually(lambda: seen.announced == ["first"])
        await publish(backing, topic, "second")
        await eventually(lambda: seen.announced == ["first", "second"])
        # It goes on when the consumer has begun to stop, which happens without a pause from here.
        asyncio.get_running_loop().call_soon(seen.may_handle.set)

    assert seen.handled == ["first", "second"]
    again = Announcements()
    async with consuming(backing, database, topic, again):
        await publish(backing, topic, "third")
        await eventually(lambda: again.handled == ["third"])


@pytest.mark.timeout(120)
async def test_partitions_that_change_hands_are_announced_once(backing: BackingStack, database: Database) -> None:
    topic, first, second = await new_topic(backing), Announcements(), Announcements()
    published: list[str] = []
    stop = asyncio.Event()

    async def keep_publishing() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            words = [f"{number}-{part}" for part in range(4)]
            await asyncio.gather(*(publish(backing, topic, word, key=f"key {word}") for word in words))
            published.extend(words)

    async with consuming(backing, database, topic, first):
        await settled(backing, topic, first)
        publishing = asyncio.create_task(keep_publishing())
        await eventually(lambda: len(first.announced) > 20)
        async with consuming(backing, database, topic, second):
            await eventually(lambda: len(second.announced) > 20, seconds=60)
        announced_then = len(first.announced)
        await eventually(lambda: len(first.announced) > announced_then + 20, seconds=60)
        stop.set()
        await publishing
        await eventually(lambda: {*first.handled, *second.handled} >= set(published), seconds=30)

    announced = [*first.announced, *second.announced]
    assert len(announced) == len(set(announced))
