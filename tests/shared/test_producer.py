"""Sending: each record gets its outcome, and nothing waits for ever."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import MessageSizeTooLargeError, UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from shared.messaging.producer import METADATA_SECONDS, SEND_SECONDS, NotSent, Producer, Record
from tests.harness.stack import BackingStack
from tests.harness.transport import read_records


@pytest.fixture
async def producer(backing: BackingStack) -> AsyncIterator[Producer]:
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    yield producer
    await producer.close()


async def test_records_of_one_key_arrive_in_the_order_in_which_they_were_given(
    backing: BackingStack, topic: str, producer: Producer
) -> None:
    # More than a batch holds, so that several are under way for one partition.
    records = [Record(topic, b"key", b"%06d" % number + b"x" * 1000, []) for number in range(1000)]

    assert await producer.send(records) == [None] * 1000

    arrived = await read_records(backing.kafka_bootstrap, topic, count=1000)
    assert [record.value for record in arrived] == [record.value for record in records]


async def test_a_record_that_is_too_large_stops_later_ones_of_its_order_key_and_no_others(
    backing: BackingStack, topic: str, producer: Producer
) -> None:
    large = b"x" * 2_000_000
    records = [
        Record(topic, b"a", b"1", [], order_key=1),
        Record(topic, b"a", large, [], order_key=1),
        Record(topic, b"b", b"2", [], order_key=2),
        Record(topic, b"a", b"3", [], order_key=1),
    ]

    outcomes = await producer.send(records)

    assert outcomes[0] is None
    assert outcomes[2] is None
    assert isinstance(outcomes[1], MessageSizeTooLargeError)
    assert isinstance(outcomes[3], NotSent)
    assert {record.value for record in await read_records(backing.kafka_bootstrap, topic, count=2)} == {b"1", b"2"}


async def test_an_unknown_topic_is_reported_soon_and_the_producer_goes_on(topic: str, producer: Producer) -> None:
    assert await producer.send([Record(topic, b"a", b"1", [])]) == [None]
    started = time.monotonic()

    outcomes = await producer.send(
        [Record(f"{topic}.unknown", b"a", b"2", []), Record(topic, b"a", b"3", [], order_key=1)]
    )

    assert isinstance(outcomes[0], UnknownTopicOrPartitionError)
    assert outcomes[1] is None
    assert time.monotonic() - started < METADATA_SECONDS
    assert await producer.send([Record(topic, b"a", b"4", [])]) == [None]


async def test_after_it_was_discarded_it_connects_again(topic: str, producer: Producer) -> None:
    assert await producer.send([Record(topic, b"a", b"1", [])]) == [None]
    await producer.discard()
    await producer.discard()

    assert await producer.send([Record(topic, b"a", b"2", [])]) == [None]


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.messaging.producer.START_SECONDS", 0.5)
    silent: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: silent.append(writer), "127.0.0.1", 0)
    producer = Producer(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", client_id="tests")
    started = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            await producer.send([Record("topic", b"a", b"1", [])])
    finally:
        await producer.close()
        for writer in silent:
            writer.close()
        server.close()

    assert silent, "the server was asked"
    assert time.monotonic() - started < SEND_SECONDS


@pytest.mark.asyncio(loop_scope="function")
async def test_a_start_that_is_cancelled_loses_no_connection(
    backing: BackingStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    asked = asyncio.Event()
    send = AIOKafkaConnection.send

    def noted(connection: AIOKafkaConnection, request: Any, *arguments: Any) -> Any:
        if isinstance(request, MetadataRequest):
            asked.set()
        return send(connection, request, *arguments)

    monkeypatch.setattr(AIOKafkaConnection, "send", noted)
    starting = asyncio.create_task(producer.connect())
    await asyncio.wait_for(asked.wait(), SEND_SECONDS)
    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting
    # A connection that nobody closed warns when it is collected, and a warning is an error here.
    gc.collect()
    assert not _tasks_of_clients()


@pytest.mark.asyncio(loop_scope="function")
async def test_a_stop_that_is_cancelled_ends_all_the_same(backing: BackingStack) -> None:
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    await producer.connect()
    stopping = asyncio.create_task(producer.close())
    for _ in range(3):
        await asyncio.sleep(0)
        stopping.cancel()

    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert not _tasks_of_clients()


def _tasks_of_clients() -> set["asyncio.Task[Any]"]:
    """What clients of Kafka run in this loop: a test that counts them has a loop of its own, for services of others run in theirs."""
    return asyncio.all_tasks() - {asyncio.current_task()}
