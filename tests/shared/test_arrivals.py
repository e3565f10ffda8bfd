"""Arrivals: whoever wants to know of a record before its batch is told once, of what nobody else can have handled, and never in vain."""

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


class Desk:
    """Somebody who is told of arrivals and then handles batches, as slowly as a test wants."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.handled: list[str] = []
        self.may_handle = asyncio.Event()
        self.may_handle.set()
        self.handling = asyncio.Event()
        self.failures_left = 0

    def arrived(self, facts: Sequence[Noted]) -> None:
        self.told += [fact.data.note for fact in facts]

    async def handle(self, session: AsyncSession, facts: list[Noted]) -> None:
        self.handling.set()
        await self.may_handle.wait()
        if self.failures_left:
            self.failures_left -= 1
            raise OSError("not yet")
        self.handled += [fact.data.note for fact in facts]


@asynccontextmanager
async def consuming(backing: BackingStack, database: Database, topic: str, desk: Desk) -> AsyncIterator[None]:
    broker = faststream_adapter.PrefetchingBroker(backing.kafka_bootstrap, client_id="tests")
    subscription = subscriber.subscribe(
        broker,
        topic=topic,
        group="tests",
        read=read_noted,
        handle=desk.handle,
        on_new_records=desk.arrived,
        database=database,
        metrics=Metrics("tests"),
    )
    consumers = consumer.Consumers(broker, [subscription])
    async with running(consumers.run):
        await eventually(lambda: consumers.ready)
        yield


async def publish(backing: BackingStack, topic: str, *words: str, key: str = "one key") -> None:
    kind = noted_on(topic)
    facts = [note(kind, key, number, word) for number, word in enumerate(words, 1)]
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    try:
        outcomes = await producer.send([Record(topic, key.encode(), one.value(), one.headers()) for one in facts])
    finally:
        await producer.close()
    assert outcomes == [None] * len(words)


async def settled(backing: BackingStack, topic: str, desk: Desk) -> None:
    """Returns when what is published from now on is news to the consumer."""
    probes = 0
    while not desk.told:
        probes += 1
        await publish(backing, topic, "probe")
        await eventually(lambda: len(desk.handled) >= probes)  # noqa: B023 - awaited in this turn
    desk.told.clear()
    desk.handled.clear()


async def test_a_record_is_told_of_while_an_earlier_batch_is_being_handled(
    backing: BackingStack, database: Database
) -> None:
    topic, desk = await new_topic(backing), Desk()
    async with consuming(backing, database, topic, desk):
        await settled(backing, topic, desk)
        desk.may_handle.clear()
        await publish(backing, topic, "first")
        await eventually(lambda: desk.told == ["first"])
        await publish(backing, topic, "second", "third")

        await eventually(lambda: desk.told == ["first", "second", "third"])
        assert desk.handled == []
        desk.may_handle.set()
        await eventually(lambda: desk.handled == ["first", "second", "third"])
    assert desk.told == ["first", "second", "third"]


async def test_what_was_published_before_is_not_news(backing: BackingStack, database: Database) -> None:
    topic = await new_topic(backing)
    await publish(backing, topic, *(f"old {number}" for number in range(20)))
    first, second = Desk(), Desk()

    async with consuming(backing, database, topic, first):
        await eventually(lambda: len(first.handled) == 20)
    async with consuming(backing, database, topic, second):
        await publish(backing, topic, "new")
        await eventually(lambda: "new" in second.handled)
        await settled(backing, topic, second)

    assert first.told == []


async def test_a_batch_that_fails_is_not_told_of_again(backing: BackingStack, database: Database) -> None:
    topic, desk = await new_topic(backing), Desk()
    async with consuming(backing, database, topic, desk):
        await settled(backing, topic, desk)
        desk.failures_left = 3
        await publish(backing, topic, "a", "b", "c")

        await eventually(lambda: desk.handled == ["a", "b", "c"])
        assert desk.failures_left == 0
        assert desk.told == ["a", "b", "c"]


async def test_of_a_long_queue_nobody_is_told_and_all_of_it_is_handled_in_order(
    backing: BackingStack, database: Database
) -> None:
    topic, desk = await new_topic(backing), Desk()
    words = [str(number) for number in range(5000)]
    async with consuming(backing, database, topic, desk):
        await settled(backing, topic, desk)
        desk.may_handle.clear()
        desk.handling.clear()
        await publish(backing, topic, "first")
        await asyncio.wait_for(desk.handling.wait(), WAIT_SECONDS)
        await publish(backing, topic, *words)
        desk.may_handle.set()
        await eventually(lambda: len(desk.handled) == len(words) + 1)

    assert desk.handled == ["first", *words]
    assert len(desk.told) == len(set(desk.told))
    assert set(desk.told) <= {"first", *words}
    assert len(desk.told) <= ANNOUNCED_RECORDS_MAX * 4


async def test_whatever_was_told_of_is_handled_before_a_consumer_stops(
    backing: BackingStack, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.prefetching_consumer.LAST_COMMIT_SECONDS", COMMITTED_SECONDS)
    topic, desk = await new_topic(backing), Desk()
    async with consuming(backing, database, topic, desk):
        await settled(backing, topic, desk)
        desk.may_handle.clear()
        await publish(backing, topic, "first")
        await eventually(lambda: desk.told == ["first"])
        await publish(backing, topic, "second")
        await eventually(lambda: desk.told == ["first", "second"])
        # It goes on when the consumer has begun to stop, which happens without a pause from here.
        asyncio.get_running_loop().call_soon(desk.may_handle.set)

    assert desk.handled == ["first", "second"]
    again = Desk()
    async with consuming(backing, database, topic, again):
        await publish(backing, topic, "third")
        await eventually(lambda: again.handled == ["third"])


@pytest.mark.timeout(120)
async def test_partitions_that_change_hands_are_told_of_once(backing: BackingStack, database: Database) -> None:
    topic, first, second = await new_topic(backing), Desk(), Desk()
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
        await eventually(lambda: len(first.told) > 20)
        async with consuming(backing, database, topic, second):
            await eventually(lambda: len(second.told) > 20, seconds=60)
        told_then = len(first.told)
        await eventually(lambda: len(first.told) > told_then + 20, seconds=60)
        stop.set()
        await publishing
        await eventually(lambda: {*first.handled, *second.handled} >= set(published), seconds=30)

    told = [*first.told, *second.told]
    assert len(told) == len(set(told))
