"""Consumers: at least once, never stuck on one record, quick, and back by themselves after anything."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from faststream.kafka.subscriber.usecase import BatchSubscriber
from faststream.middlewares import AckPolicy
from opentelemetry import trace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.errors import Conflict, Unavailable
from shared.messaging import consumer, faststream_adapter, outbox, subscriber, topics
from shared.messaging.lag import LagMonitor
from shared.messaging.producer import Producer, Record
from shared.messaging.relay import Relay
from shared.observability import traces
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from tests.harness.stack import BackingStack
from tests.harness.transport import COMMITTED_SECONDS, Noted, note, noted_on, read_noted, read_records, running
from tests.harness.waiting import eventually


class Seen:
    """A handler that writes down what it was given, and may be made to fail."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.batches: list[int] = []
        self.fail: Callable[[Sequence[Noted]], None] = lambda events: None

    async def __call__(self, session: AsyncSession, events: list[Noted]) -> None:
        self.fail(events)
        await session.execute(
            text("INSERT INTO handled SELECT unnest(CAST(:notes AS text[]))"),
            {"notes": [event.data.note for event in events]},
        )
        self.batches.append(len(events))
        self.notes += [event.data.note for event in events]


@pytest.fixture
async def seen(database: Database) -> Seen:
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE handled (note text NOT NULL)"))
    return Seen()


async def handled(database: Database) -> list[str]:
    async with database.reading() as session:
        return list((await session.execute(text("SELECT note FROM handled ORDER BY note"))).scalars())


@asynccontextmanager
async def consuming(
    backing: BackingStack,
    database: Database,
    topic: str,
    handle: Seen,
    *,
    metrics: Metrics | None = None,
    batch_max: int = 500,
) -> AsyncIterator[subscriber.Subscription[Noted]]:
    broker = faststream_adapter.PrefetchingBroker(backing.kafka_bootstrap, client_id="tests")
    subscription = subscriber.subscribe(
        broker,
        topic=topic,
        group="tests",
        read=read_noted,
        handle=handle,
        database=database,
        metrics=metrics or Metrics("tests"),
        batch_max=batch_max,
    )
    consumers = consumer.Consumers(broker, [subscription])
    async with running(consumers.run):
        await eventually(lambda: consumers.ready)
        yield subscription


async def send(backing: BackingStack, topic: str, *records: Noted | Record) -> None:
    producer = Producer(backing.kafka_bootstrap, client_id="tests")
    try:
        outcomes = await producer.send(
            [
                one if isinstance(one, Record) else Record(topic, one.subject.encode(), one.value(), one.headers())
                for one in records
            ]
        )
    finally:
        await producer.close()
    assert outcomes == [None] * len(records)


def notes(kind: type[Noted], *words: str) -> list[Noted]:
    return [note(kind, "one key", number, word) for number, word in enumerate(words, 1)]


def with_headers(event: Noted, **changed: bytes) -> Record:
    headers = {**dict(event.headers()), **changed}
    return Record(event.topic, event.subject.encode(), event.value(), list(headers.items()))


# -- Options -----------------------------------------------------------------------------------------------------------


def test_every_subscriber_is_at_least_once_and_quick() -> None:
    broker = faststream_adapter.PrefetchingBroker("127.0.0.1:1", client_id="tests")
    metrics = Metrics("tests")
    database = Database("postgresql://nobody@127.0.0.1:1/none", application_name="tests")
    subscriptions = [
        subscriber.subscribe(
            broker, topic=name, group="tests", read=read_noted, handle=Seen(), database=database, metrics=metrics
        )
        for name in ("a.events.v1", "b.events.v1")
    ]

    assert len(broker.subscribers) == 2
    for made in broker.subscribers:
        assert isinstance(made, BatchSubscriber)
        assert made.ack_policy is AckPolicy.NACK_ON_ERROR
        assert made.group_id == f"tests.{made.topic_names[0]}"
        assert made.batch_timeout_ms == 1000
        assert made.max_records == 500
        options = made._connection_args
        assert options["auto_offset_reset"] == "earliest"
        assert options["enable_auto_commit"] is False
        assert options["session_timeout_ms"] == 30_000
        assert options["fetch_max_wait_ms"] == 500
    consumer.Consumers(broker, subscriptions)


def test_a_subscriber_made_without_these_options_is_refused() -> None:
    broker = faststream_adapter.PrefetchingBroker("127.0.0.1:1", client_id="tests")

    @broker.subscriber("some.topic", group_id="tests")
    async def on_some_topic(message: bytes) -> None: ...

    with pytest.raises(TypeError, match="not made by subscribe"):
        consumer.Consumers(broker, [])


# -- Handling ----------------------------------------------------------------------------------------------------------


async def test_records_published_before_and_after_the_start_are_handled_in_batches(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    kind = noted_on(topic)
    words = [f"{number:04}" for number in range(1200)]
    await send(backing, topic, *notes(kind, *words[:1000]))

    async with consuming(backing, database, topic, seen):
        await send(backing, topic, *notes(kind, *words[1000:]))
        await eventually(lambda: len(seen.notes) >= 1200)

    assert seen.notes == words
    assert max(seen.batches) == 500
    assert await handled(database) == words


async def test_what_was_handled_is_not_read_again_after_a_restart(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    kind = noted_on(topic)
    await send(backing, topic, *notes(kind, "first"))
    async with consuming(backing, database, topic, seen):
        await eventually(lambda: seen.notes == ["first"])
        await eventually(lambda: _is_committed(backing, topic, 1))

    await send(backing, topic, *notes(kind, "second"))
    async with consuming(backing, database, topic, seen):
        await eventually(lambda: len(seen.notes) >= 2)

    assert seen.notes == ["first", "second"]


async def _is_committed(backing: BackingStack, topic: str, records: int) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=backing.kafka_bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(f"tests.{topic}")
        return bool(sum(max(0, offset.offset) for offset in offsets.values()) >= records)
    finally:
        await admin.close()


async def test_unknown_types_are_skipped_and_unknown_fields_ignored(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    known, strange = notes(noted_on(topic), "known", "strange")
    metrics = Metrics("tests")
    wider = Record(topic, b"one key", b'{"note": "wider", "number": 1, "added_later": {"deep": [1]}}', known.headers())

    async with consuming(backing, database, topic, seen, metrics=metrics):
        await send(backing, topic, with_headers(strange, ce_type=b"note.shredded"), wider, known)
        await eventually(lambda: len(seen.notes) >= 2)
        await eventually(lambda: _total(metrics, "waybill_consumer_records_total", topic) == 3)

    assert sorted(seen.notes) == ["known", "wider"]
    assert _total(metrics, "waybill_consumer_dead_letters_total", topic) == 0


def _total(metrics: Metrics, name: str, topic: str) -> float:
    return metrics.registry.get_sample_value(name, {"consumer": "tests", "topic": topic}) or 0


# -- Records that can't be handled -------------------------------------------------------------------------------------


async def test_unreadable_records_go_to_the_dead_letters_and_the_rest_of_the_batch_is_handled(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    kind = noted_on(topic)
    first, bad, last = notes(kind, "first", "bad", "last")
    no_type = Record(topic, b"one key", bad.value(), [("ce_id", b"evt_x")])
    broken_json = Record(topic, b"one key", b"{broken", bad.headers())
    no_value = Record(topic, b"one key", None, bad.headers())
    not_utf8 = with_headers(bad, ce_subject=b"\xff\xfe", traceparent=b"\x80")
    metrics = Metrics("tests")
    await send(backing, topic, first, no_type, broken_json, no_value, not_utf8, last)

    async with consuming(backing, database, topic, seen, metrics=metrics):
        await eventually(lambda: len(seen.notes) >= 2)
        letters = await read_records(backing.kafka_bootstrap, f"{topic}.dlq", count=4, partitions=1)

    assert seen.notes == ["first", "last"]
    assert [letter.value for letter in letters] == [bad.value(), b"{broken", None, bad.value()]
    assert {letter.key for letter in letters} == {b"one key"}
    stories = [{name: value for name, value in letter.headers if name.startswith("dlq_")} for letter in letters]
    assert [story["dlq_origin_offset"] for story in stories] == [b"1", b"2", b"3", b"4"]
    assert {story["dlq_origin_topic"] for story in stories} == {topic.encode()}
    assert {story["dlq_consumer"] for story in stories} == {b"tests"}
    assert b"ce_type" in stories[0]["dlq_reason"]
    assert b"Invalid JSON" in stories[1]["dlq_reason"]
    assert b"broken" not in stories[1]["dlq_reason"], "a reason does not quote the record"
    assert b"UnicodeDecodeError" in stories[3]["dlq_reason"]
    assert ("ce_subject", b"\xff\xfe") in letters[3].headers, "headers are kept as they were"
    assert _total(metrics, "waybill_consumer_dead_letters_total", topic) == 4


async def test_a_record_refused_for_good_goes_to_the_dead_letters_and_its_neighbours_are_handled(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    def refuse(events: Sequence[Noted]) -> None:
        if any(event.data.note == "refused" for event in events):
            raise Conflict("this one contradicts what is known")

    seen.fail = refuse
    await send(backing, topic, *notes(noted_on(topic), "first", "refused", "last"))

    async with consuming(backing, database, topic, seen):
        (letter,) = await read_records(backing.kafka_bootstrap, f"{topic}.dlq", count=1, partitions=1)
        await eventually(lambda: _is_committed(backing, topic, 3))

    assert seen.notes == ["first", "last"]
    assert await handled(database) == ["first", "last"]
    assert dict(letter.headers)["dlq_reason"] == b"Conflict: this one contradicts what is known"


@pytest.mark.parametrize("trouble", [ConnectionError("away"), Unavailable("not now"), KeyError("a bug")])
async def test_a_transient_failure_has_the_batch_read_again_and_nothing_is_lost(
    backing: BackingStack, database: Database, topic: str, seen: Seen, trouble: Exception
) -> None:
    attempts: list[int] = []

    def fail_three_times(events: Sequence[Noted]) -> None:
        attempts.append(len(events))
        if len(attempts) <= 3:
            raise trouble

    seen.fail = fail_three_times
    metrics = Metrics("tests")
    kind = noted_on(topic)
    everywhere = [note(kind, f"key-{number}", number, f"{number:03}") for number in range(100)]
    await send(backing, topic, *everywhere)

    async with consuming(backing, database, topic, seen, metrics=metrics):
        await eventually(lambda: len(seen.notes) >= 100)
        await eventually(lambda: _is_committed(backing, topic, 100))

    assert await handled(database) == [event.data.note for event in everywhere]
    assert _total(metrics, "waybill_consumer_errors_total", topic) == 3
    assert _total(metrics, "waybill_consumer_dead_letters_total", topic) == 0


async def test_a_batch_that_fails_waits_longer_each_time(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    attempts: list[float] = []

    def fail(events: Sequence[Noted]) -> None:
        attempts.append(time.monotonic())
        raise ConnectionError

    seen.fail = fail
    await send(backing, topic, *notes(noted_on(topic), "x"))

    async with consuming(backing, database, topic, seen):
        await eventually(lambda: len(attempts) >= 6)

    for number, (one, following) in enumerate(pairwise(attempts[:6])):
        assert following - one >= subscriber.BACKOFF_SECONDS / 2 * 2**number


async def test_bad_records_are_set_aside_once_although_their_batch_failed_before(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    attempts: list[int] = []

    def fail_twice(events: Sequence[Noted]) -> None:
        attempts.append(1)
        if len(attempts) <= 2:
            raise ConnectionError

    seen.fail = fail_twice
    good, bad = notes(noted_on(topic), "good", "bad")
    await send(backing, topic, good, Record(topic, b"one key", b"{broken", bad.headers()))

    async with consuming(backing, database, topic, seen):
        await eventually(lambda: seen.notes == ["good"])
        letters = await read_records(backing.kafka_bootstrap, f"{topic}.dlq", count=1, partitions=1)

    assert len(letters) == 1


async def test_offsets_are_not_committed_while_dead_letters_can_not_be_kept(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    bare = f"{topic}.bare"
    await topics.apply(backing.kafka_bootstrap, [topics.Topic(name=bare, partitions=1, replication_factor=1)])
    await send(backing, bare, Record(bare, b"one key", b"{broken", notes(noted_on(bare), "x")[0].headers()))
    metrics = Metrics("tests")

    async with consuming(backing, database, bare, seen, metrics=metrics):
        await eventually(lambda: _total(metrics, "waybill_consumer_errors_total", bare) >= 1)

    assert not await _is_committed(backing, bare, 1)


# -- Quick, and back by itself -----------------------------------------------------------------------------------------


async def test_a_event_is_handled_without_waiting_for_any_poll(
    backing: BackingStack, database: Database, topic: str, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.faststream_adapter.BATCH_WAIT_MS", 10_000)
    monkeypatch.setattr("shared.messaging.faststream_adapter.FETCH_WAIT_MS", 10_000)
    kind = noted_on(topic)
    relay = Relay(database, bootstrap_servers=backing.kafka_bootstrap, metrics=Metrics("tests"), poll_seconds=10)
    outbox.attach(database, relay.wake)
    seconds: list[float] = []

    async with running(relay.run), consuming(backing, database, topic, seen):
        for number in range(1, 31):
            async with database.transaction() as session:
                outbox.publish(session, note(kind, f"key-{number}", number))
            committed = time.perf_counter()
            await eventually(lambda number=number: len(seen.notes) >= number)  # type: ignore[misc]
            seconds.append(time.perf_counter() - committed)

    # It takes about 4 ms on a machine that is not busy; each poll on the way (the relay's, Kafka's) would take 5 s.
    assert statistics.median(seconds) < 1


async def test_each_consumer_starts_as_soon_as_kafka_knows_its_topic(
    backing: BackingStack, database: Database, topic: str, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.prefetching_consumer.TOPIC_SECONDS", consumer.START_SECONDS)
    later, metrics = f"{topic}.later", Metrics("tests")
    broker = faststream_adapter.PrefetchingBroker(backing.kafka_bootstrap, client_id="tests")
    subscriptions = [
        subscriber.subscribe(
            broker, topic=name, group="tests", read=read_noted, handle=seen, database=database, metrics=metrics
        )
        for name in (later, topic)
    ]
    consumers = consumer.Consumers(broker, subscriptions)

    async with running(consumers.run):
        await send(backing, topic, *notes(noted_on(topic), "not held up"))
        await eventually(lambda: seen.notes == ["not held up"])
        assert not consumers.ready
        await topics.apply(backing.kafka_bootstrap, [topics.Topic(name=later, partitions=1, replication_factor=1)])
        await eventually(lambda: consumers.ready)
        await send(backing, later, *notes(noted_on(later), "x"))
        await eventually(lambda: seen.notes == ["not held up", "x"])


async def test_without_kafka_consumers_are_not_ready_and_still_stop(database: Database, seen: Seen) -> None:
    broker = faststream_adapter.PrefetchingBroker("127.0.0.1:1", client_id="tests")
    subscription = subscriber.subscribe(
        broker, topic="t", group="tests", read=read_noted, handle=seen, database=database, metrics=Metrics("tests")
    )
    consumers = consumer.Consumers(broker, [subscription])

    async with running(consumers.run):
        await asyncio.sleep(1.0)
        assert not consumers.ready


async def test_stopping_lets_the_batch_under_way_end(
    backing: BackingStack, database: Database, topic: str, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.prefetching_consumer.LAST_COMMIT_SECONDS", COMMITTED_SECONDS)
    started = asyncio.Event()

    class Slow(Seen):
        async def __call__(self, session: AsyncSession, events: list[Noted]) -> None:
            started.set()
            await asyncio.sleep(0.5)
            await super().__call__(session, events)

    slow = Slow()
    await send(backing, topic, *notes(noted_on(topic), "x"))
    async with consuming(backing, database, topic, slow):
        await started.wait()

    assert slow.notes == ["x"]
    assert await _is_committed(backing, topic, 1)


async def test_two_consumers_share_the_partitions_and_take_over_from_one_another(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    kind = noted_on(topic)
    other = Seen()

    async with consuming(backing, database, topic, seen):
        async with consuming(backing, database, topic, other):
            await send(backing, topic, *(note(kind, f"key-{n}", n, f"{n:03}") for n in range(200)))
            await eventually(lambda: len(set(seen.notes + other.notes)) >= 200)
            assert seen.notes
            assert other.notes
        await send(backing, topic, *(note(kind, f"key-{n}", n, f"{n:03}") for n in range(200, 300)))
        await eventually(lambda: len(set(seen.notes + other.notes)) >= 300)

    assert sorted(set(await handled(database))) == [f"{n:03}" for n in range(300)]


# -- Traces ------------------------------------------------------------------------------------------------------------


async def test_the_handler_works_in_the_trace_of_the_request_that_published(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    relay = Relay(database, bootstrap_servers=backing.kafka_bootstrap, metrics=Metrics("tests"))
    outbox.attach(database, relay.wake)
    trace_ids: list[int] = []
    seen.fail = lambda events: trace_ids.append(trace.get_current_span().get_span_context().trace_id)
    tracing = traces.configure_tracing("tests", otlp_endpoint=None, sample_ratio=1.0)
    try:
        async with running(relay.run), consuming(backing, database, topic, seen):
            with traces.tracer().start_as_current_span("request") as span:
                async with database.transaction() as session:
                    outbox.publish(session, note(noted_on(topic), "key", 1))
            await eventually(lambda: len(seen.notes) == 1)
    finally:
        tracing.shutdown()

    assert trace_ids == [span.get_span_context().trace_id]


# -- Progress ----------------------------------------------------------------------------------------------------------


async def test_progress_is_recorded_only_when_everything_was_handled(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    stuck = asyncio.Event()

    def fail_until_stopped(events: Sequence[Noted]) -> None:
        if not stuck.is_set():
            raise ConnectionError

    seen.fail = fail_until_stopped
    metrics = Metrics("tests")
    await send(backing, topic, *notes(noted_on(topic), "x", "y"))

    async with consuming(backing, database, topic, seen, metrics=metrics) as subscription:
        progress = looking(backing, database, subscription, metrics=metrics)
        async with running(progress.run):
            await eventually(lambda: _total(metrics, "waybill_consumer_lag_records", topic) == 2)
            assert await _caught_up(database, topic) is None
            stuck.set()
            await eventually(lambda: _is_caught_up(database, topic))
            first = await _caught_up(database, topic)
            await eventually(lambda: _moves_on(database, topic, first or 0))
            assert _total(metrics, "waybill_consumer_lag_records", topic) == 0
            await eventually(lambda: _total(metrics, "waybill_consumer_staleness_seconds", topic) < 5)

            stuck.clear()
            await send(backing, topic, *notes(noted_on(topic), "z"))
            await eventually(lambda: _total(metrics, "waybill_consumer_lag_records", topic) == 1)
            proven = await _caught_up(database, topic)
            stale = _total(metrics, "waybill_consumer_staleness_seconds", topic)
            await eventually(lambda: _total(metrics, "waybill_consumer_staleness_seconds", topic) > stale + 0.4)
            assert await _caught_up(database, topic) == proven


async def test_a_proof_is_as_old_as_its_question_however_late_it_is_written(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    async with consuming(backing, database, topic, seen) as subscription, database.transaction() as holder:
        progress = looking(backing, database, subscription, every_seconds=3600)
        # As if the process was paused between the question and its answer.
        await holder.execute(text("LOCK TABLE consumer_progress IN ACCESS EXCLUSIVE MODE"))
        async with running(progress.run):

            async def waits() -> float | None:
                async with database.reading() as session:
                    found = await session.execute(
                        text(
                            "SELECT extract(epoch FROM clock_timestamp()) FROM pg_locks WHERE NOT granted"
                            " AND relation = 'consumer_progress'::regclass"
                        )
                    )
                    value = found.scalar()
                return None if value is None else float(value)

            waiting_since = await eventually(waits, what="the proof waits to be written")
            await holder.rollback()
            await eventually(lambda: _is_caught_up(database, topic))
    assert (await _caught_up(database, topic) or waiting_since) < waiting_since


async def test_a_consumer_of_an_empty_topic_is_caught_up(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    async with consuming(backing, database, topic, seen) as subscription:
        progress = looking(backing, database, subscription)
        async with running(progress.run):
            await eventually(lambda: _is_caught_up(database, topic))


async def test_a_missing_topic_makes_no_other_consumer_stale(
    backing: BackingStack, database: Database, topic: str, seen: Seen
) -> None:
    @dataclass
    class Missing:
        topic: str = "missing.v1"
        kafka_topic: str = "missing.v1"
        consumer: str = "tests"
        group_id: str = "tests.missing.v1"

    async with consuming(backing, database, topic, seen) as subscription:
        progress = looking(backing, database, Missing(), subscription)
        async with running(progress.run):
            await eventually(lambda: _is_caught_up(database, topic))
            first = await _caught_up(database, topic)
            await eventually(lambda: _moves_on(database, topic, first or 0))

    assert await _caught_up(database, "missing.v1") is None


def looking(
    backing: BackingStack,
    database: Database,
    *subscriptions: Any,
    metrics: Metrics | None = None,
    every_seconds: float = 0.1,
) -> LagMonitor:
    return LagMonitor(
        database,
        bootstrap_servers=backing.kafka_bootstrap,
        subscriptions=subscriptions,
        metrics=metrics or Metrics("tests"),
        interval_seconds=every_seconds,
    )


async def _caught_up(database: Database, topic: str) -> float | None:
    async with database.reading() as session:
        found = await session.execute(
            text(
                "SELECT extract(epoch FROM caught_up_at) FROM consumer_progress WHERE consumer = 'tests' AND topic = :t"
            ),
            {"t": topic},
        )
        value = found.scalar()
    return None if value is None else float(value)


async def _is_caught_up(database: Database, topic: str) -> bool:
    return await _caught_up(database, topic) is not None


async def _moves_on(database: Database, topic: str, since: float) -> bool:
    return (await _caught_up(database, topic) or 0) > since
