"""The outbox and its relay: nothing is lost, the events of one key keep their order, and trouble with Kafka stays outside."""

import asyncio
import random
import statistics
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress

import asyncpg
import pytest
from aiokafka import ConsumerRecord
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import text_headers
from shared.messaging import outbox, topics
from shared.messaging.producer import METADATA_SECONDS, STOP_SECONDS
from shared.messaging.relay import CANCEL_GRACE_SECONDS, Relay
from shared.messaging.shard_publisher import SEPARATE_SHARD
from shared.observability import traces
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from tests.harness.stack import BackingStack
from tests.harness.transport import Noted, new_topic, note, noted_on, read_records, running, shared_database
from tests.harness.waiting import eventually

WRITERS = 32
FACTS_PER_WRITER = 60
KEYS = 20


def a_relay(database: Database, backing: BackingStack, **options: float) -> Relay:
    return Relay(database, bootstrap_servers=backing.kafka_bootstrap, metrics=Metrics("tests"), **options)  # type: ignore[arg-type]


async def waiting(database: Database) -> int:
    async with database.reading() as session:
        return int((await session.execute(text("SELECT count(*) FROM outbox"))).scalar_one())


async def write(database: Database, *events: Noted) -> None:
    async with database.transaction() as session:
        for event in events:
            outbox.publish(session, event)


def numbers_by_key(records: "Sequence[ConsumerRecord[bytes, bytes]]") -> dict[str, list[int]]:
    """What arrived for each key, in order; what came more than once (that is allowed) counts where it came first."""
    seen: dict[str, list[int]] = defaultdict(list)
    for record in records:
        number = int(text_headers(record.headers)["ce_sequence"])
        key = (record.key or b"").decode()
        if number not in seen[key]:
            seen[key].append(number)
    return dict(seen)


# -- The workload of many writers --------------------------------------------------------------------------------------


async def create_aggregates(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE aggregates (key text PRIMARY KEY, version bigint NOT NULL)"))
        await session.execute(
            text("INSERT INTO aggregates SELECT 'key-' || n, 0 FROM generate_series(0, :last) AS n"), {"last": KEYS - 1}
        )


async def many_writers(database: Database, kind: type[Noted]) -> None:
    """Each event as an operation makes it: lock the aggregate by counting its version, publish, dawdle, commit."""
    chance = random.Random(7)

    async def writer(first: int) -> None:
        for number in range(FACTS_PER_WRITER):
            key = f"key-{(first + number) % KEYS}"
            async with database.transaction() as session:
                version = await session.execute(
                    text("UPDATE aggregates SET version = version + 1 WHERE key = :key RETURNING version"), {"key": key}
                )
                outbox.publish(session, note(kind, key, version.scalar_one()))
                await outbox.write_pending(session)
                # Between the insert and the commit: others with larger ids commit meanwhile.
                await asyncio.sleep(chance.choice((0, 0, 0.001, 0.004)))

    await asyncio.gather(*(writer(first) for first in range(WRITERS)))


def expected_by_key() -> dict[str, list[int]]:
    each = WRITERS * FACTS_PER_WRITER // KEYS
    return {f"key-{number}": list(range(1, each + 1)) for number in range(KEYS)}


class CursorReader:
    """A relay as it must not be: it remembers the largest id that it has seen and asks for what is larger."""

    def __init__(self, database: Database):
        self._database = database
        self.seen: set[int] = set()

    async def run(self) -> None:
        cursor = 0
        connection = await asyncpg.connect(self._database.url)
        try:
            while True:
                rows = await connection.fetch("SELECT id FROM outbox WHERE id > $1 ORDER BY id LIMIT 1000", cursor)
                self.seen.update(row["id"] for row in rows)
                cursor = rows[-1]["id"] if rows else cursor
                await asyncio.sleep(0.001)
        finally:
            await connection.close()


@pytest.mark.parametrize("relays", [1, 2])
async def test_with_many_writers_no_event_is_lost_and_each_key_keeps_its_order(
    backing: BackingStack, topic: str, relays: int
) -> None:
    async with shared_database(backing, pool_size=WRITERS + 8) as database:
        await create_aggregates(database)
        outbox.attach(database, None)
        all_relays = [a_relay(database, backing, poll_seconds=0.02) for _ in range(relays)]

        async with running(*(relay.run for relay in all_relays)):
            await many_writers(database, noted_on(topic))
            await eventually(lambda: _is_empty(database))

        records = await read_records(backing.kafka_bootstrap, topic, count=WRITERS * FACTS_PER_WRITER)
        assert numbers_by_key(records) == expected_by_key()
        assert len(records) == WRITERS * FACTS_PER_WRITER, "nothing failed, so nothing may come twice"


async def test_a_reader_with_a_cursor_over_ids_would_lose_events_of_the_same_writers(
    backing: BackingStack, topic: str
) -> None:
    async with shared_database(backing, pool_size=WRITERS + 8) as database:
        await create_aggregates(database)
        outbox.attach(database, None)
        reader = CursorReader(database)

        async with running(reader.run):
            await many_writers(database, noted_on(topic))
            await asyncio.sleep(0.1)

        assert await waiting(database) == WRITERS * FACTS_PER_WRITER
        assert len(reader.seen) < WRITERS * FACTS_PER_WRITER


async def _is_empty(database: Database) -> bool:
    return await waiting(database) == 0


# -- Writing -----------------------------------------------------------------------------------------------------------


async def test_events_leave_in_the_order_in_which_one_transaction_published_them(
    backing: BackingStack, database: Database, topic: str
) -> None:
    kind = noted_on(topic)
    relay = a_relay(database, backing, poll_seconds=60)
    outbox.attach(database, relay.wake)

    async with running(relay.run):
        await write(database, *(note(kind, "key", number) for number in range(1, 51)))
        records = await read_records(backing.kafka_bootstrap, topic, count=50)

    assert numbers_by_key(records) == {"key": list(range(1, 51))}


async def test_a_record_carries_the_envelope_as_headers_and_the_state_as_value(
    backing: BackingStack, database: Database, topic: str
) -> None:
    outbox.attach(database, None)
    kind = noted_on(topic)
    event = note(kind, "key", 1, "héllo")

    async with running(a_relay(database, backing).run):
        await write(database, event)
        (record,) = await read_records(backing.kafka_bootstrap, topic, count=1)

    assert record.key == b"key"
    headers = text_headers(record.headers)
    assert kind.from_record(headers, record.value or b"") == event
    assert headers["content-type"] == "application/json"


async def test_a_transaction_that_fails_publishes_nothing(database: Database, topic: str) -> None:
    outbox.attach(database, None)

    await fails_after_publishing(database.transaction(), note(noted_on(topic), "key", 1))

    assert await waiting(database) == 0


async def test_a_savepoint_that_is_rolled_back_takes_its_events_with_it(database: Database, topic: str) -> None:
    outbox.attach(database, None)
    kind = noted_on(topic)

    async with database.transaction() as session:
        outbox.publish(session, note(kind, "kept before", 1))
        async with session.begin_nested():
            outbox.publish(session, note(kind, "kept within", 1))
            inner = session.begin_nested()
            await inner
            outbox.publish(session, note(kind, "inner", 1))
            await inner.rollback()
        outer = session.begin_nested()
        await outer
        async with session.begin_nested():
            outbox.publish(session, note(kind, "released, but not what is around it", 1))
        await outer.rollback()
        outbox.publish(session, note(kind, "kept after", 1))

    async with database.reading() as session:
        keys = (await session.execute(text("SELECT key FROM outbox ORDER BY id"))).scalars().all()
    assert keys == ["kept before", "kept within", "kept after"]


async def fails_after_publishing(transaction: AbstractAsyncContextManager[AsyncSession], event: Noted) -> None:
    with suppress(LookupError):
        async with transaction as session:
            outbox.publish(session, event)
            raise LookupError


async def test_what_is_pending_can_be_seen_until_it_is_written(database: Database, topic: str) -> None:
    async with database.transaction() as session:
        event = note(noted_on(topic), "key", 1)
        outbox.publish(session, event)
        assert outbox.pending(session) == [event]
        await outbox.write_pending(session)
        assert outbox.pending(session) == []


async def test_only_a_commit_that_wrote_events_wakes_the_relay(database: Database, topic: str) -> None:
    woken: list[bool] = []
    outbox.attach(database, lambda: woken.append(True))

    await write(database)
    assert woken == []
    await write(database, note(noted_on(topic), "key", 1))
    assert woken == [True]


async def test_the_context_of_the_publishing_span_travels_with_the_record(
    backing: BackingStack, database: Database, topic: str
) -> None:
    outbox.attach(database, None)
    tracing = traces.configure_tracing("tests", otlp_endpoint=None, sample_ratio=1.0)
    try:
        async with running(a_relay(database, backing).run):
            with traces.tracer().start_as_current_span("request"):
                expected = traces.inject()["traceparent"]
                await write(database, note(noted_on(topic), "key", 1))
            (record,) = await read_records(backing.kafka_bootstrap, topic, count=1)
    finally:
        tracing.shutdown()

    assert text_headers(record.headers)["traceparent"] == expected


# -- The relay and trouble ---------------------------------------------------------------------------------------------


async def test_a_backlog_larger_than_a_turn_leaves_in_order(
    backing: BackingStack, database: Database, topic: str
) -> None:
    outbox.attach(database, None)
    kind = noted_on(topic)
    for first in range(1, 3001, 500):
        await write(database, *(note(kind, f"key-{number % 7}", number) for number in range(first, first + 500)))

    async with running(a_relay(database, backing, rows_max=64, poll_seconds=60).run):
        records = await read_records(backing.kafka_bootstrap, topic, count=3000)

    assert all(numbers == sorted(numbers) for numbers in numbers_by_key(records).values())
    assert len(records) == 3000


async def test_a_turn_takes_no_more_bytes_than_it_may(backing: BackingStack, database: Database, topic: str) -> None:
    outbox.attach(database, None)
    await write(database, *(note(noted_on(topic), "key", number, "x" * 50_000) for number in range(1, 41)))

    async with running(a_relay(database, backing, bytes_max=120_000, poll_seconds=60).run):
        records = await read_records(backing.kafka_bootstrap, topic, count=40)

    assert numbers_by_key(records) == {"key": list(range(1, 41))}


async def test_a_event_that_kafka_never_takes_blocks_its_shard_and_no_other(
    backing: BackingStack, database: Database
) -> None:
    small = await new_topic(backing, config={"max.message.bytes": "20000"})
    outbox.attach(database, None)
    kind = noted_on(small)
    stuck, others = "key-0", [f"key-{n}" for n in range(40) if outbox.shard_of(f"key-{n}") != outbox.shard_of("key-0")]
    metrics = Metrics("tests")
    relay = Relay(database, bootstrap_servers=backing.kafka_bootstrap, metrics=metrics)

    async with running(relay.run):
        # The broker refuses the second for good; what stands before it in the same batch must get through all the same.
        await write(database, note(kind, stuck, 1), note(kind, stuck, 2, "x" * 100_000), note(kind, stuck, 3))
        await write(database, *(note(kind, other, 1) for other in others))
        await eventually(lambda: _only_left(database, stuck, 2))
        await eventually(lambda: metrics.registry.get_sample_value("waybill_outbox_held_back_shards") == 1)
        seconds: list[float] = []
        for number in range(2, 7):
            started = asyncio.get_running_loop().time()
            await write(database, *(note(kind, other, number) for other in others))
            await eventually(lambda: _only_left(database, stuck, 2))
            seconds.append(asyncio.get_running_loop().time() - started)

    records = await read_records(backing.kafka_bootstrap, small, count=1 + 6 * len(others))
    assert numbers_by_key(records) == {stuck: [1], **{other: list(range(1, 7)) for other in others}}
    assert (metrics.registry.get_sample_value("waybill_outbox_relay_errors_total") or 0) > 0
    assert statistics.median(seconds) < 2, "the shards that are well do not wait for the one that is not"


async def _only_left(database: Database, key: str, count: int) -> bool:
    async with database.reading() as session:
        keys = (await session.execute(text("SELECT key FROM outbox"))).scalars().all()
    return list(keys) == [key] * count


async def test_a_event_for_an_unknown_topic_is_kept_until_the_topic_is_there(
    backing: BackingStack, database: Database, topic: str
) -> None:
    outbox.attach(database, None)
    relay = a_relay(database, backing)

    async with running(relay.run):
        await write(database, note(noted_on(f"{topic}.later"), "a", 1))
        await write(database, note(noted_on(topic), "b", 1))
        await read_records(backing.kafka_bootstrap, topic, count=1)
        await eventually(lambda: _only_left(database, "a", 1))

        await topics.apply(
            backing.kafka_bootstrap, [topics.Topic(name=f"{topic}.later", partitions=1, replication_factor=1)]
        )
        await read_records(backing.kafka_bootstrap, f"{topic}.later", count=1, partitions=1)


async def test_events_that_are_kept_apart_delay_no_other(backing: BackingStack, database: Database, topic: str) -> None:
    later, kind = f"{topic}.later", noted_on(topic)
    apart = type("KeptApart", (noted_on(later),), {"separate_shard": True})
    keys = [f"key-{number}" for number in range(64)]
    metrics = Metrics("tests")
    relay = Relay(database, bootstrap_servers=backing.kafka_bootstrap, metrics=metrics)
    outbox.attach(database, relay.wake)

    async with running(relay.run):
        await write(database, *(note(apart, key, 1) for key in keys))
        seconds: list[float] = []
        for number in range(1, 6):
            started = asyncio.get_running_loop().time()
            await write(database, *(note(kind, key, number) for key in keys), note(apart, "key-0", number + 1))
            await eventually(lambda: _only_kept_apart(database))
            seconds.append(asyncio.get_running_loop().time() - started)
        await topics.apply(backing.kafka_bootstrap, [topics.Topic(name=later, partitions=1, replication_factor=1)])
        records = await read_records(backing.kafka_bootstrap, later, count=len(keys) + 5, partitions=1)

    assert max(seconds) < METADATA_SECONDS, "not even the first waits for the missing topic"
    assert metrics.registry.get_sample_value("waybill_outbox_relay_errors_total")
    assert numbers_by_key(records) == {"key-0": [1, 2, 3, 4, 5, 6], **{key: [1] for key in keys[1:]}}
    others = await read_records(backing.kafka_bootstrap, topic, count=5 * len(keys))
    assert numbers_by_key(others) == {key: [1, 2, 3, 4, 5] for key in keys}


async def _only_kept_apart(database: Database) -> bool:
    async with database.reading() as session:
        shards = (await session.execute(text("SELECT DISTINCT shard FROM outbox"))).scalars().all()
    return list(shards) == [SEPARATE_SHARD]


async def test_the_relay_goes_on_after_its_connection_to_postgresql_was_ended(
    backing: BackingStack, database: Database, topic: str
) -> None:
    relay = a_relay(database, backing)
    outbox.attach(database, relay.wake)
    kind = noted_on(topic)

    async with running(relay.run):
        await write(database, note(kind, "key", 1))
        await eventually(lambda: _is_empty(database))
        async with database.transaction() as session:
            await session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            )
        await database.engine.dispose()
        await write(database, note(kind, "key", 2))
        await eventually(lambda: _is_empty(database))

    records = await read_records(backing.kafka_bootstrap, topic, count=2)
    assert numbers_by_key(records) == {"key": [1, 2]}


async def test_a_shard_that_another_relay_holds_is_taken_as_soon_as_it_is_free(
    backing: BackingStack, database: Database, topic: str
) -> None:
    relay = a_relay(database, backing, poll_seconds=120)
    outbox.attach(database, relay.wake)
    shard = outbox.shard_of("key")

    async with database.transaction() as holder:
        await holder.execute(text("SELECT shard FROM outbox_shards WHERE shard = :shard FOR UPDATE"), {"shard": shard})
        async with running(relay.run):
            await write(database, note(noted_on(topic), "key", 1))
            await asyncio.sleep(0.3)
            assert await waiting(database) == 1
            await holder.rollback()
            await eventually(lambda: _is_empty(database))


async def test_a_shard_whose_relay_was_suspended_becomes_free_by_itself(
    backing: BackingStack, database: Database, topic: str
) -> None:
    outbox.attach(database, None)
    await write(database, note(noted_on(topic), "key", 1))
    suspended = await asyncpg.connect(database.url, server_settings={"idle_in_transaction_session_timeout": "500"})
    await suspended.execute("BEGIN; SELECT shard FROM outbox_shards FOR UPDATE")

    async with running(a_relay(database, backing).run):
        await eventually(lambda: _is_empty(database))
    suspended.terminate()


async def test_metrics_show_how_much_waits_and_how_old_it_is(
    backing: BackingStack, database: Database, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.relay.REPORT_SECONDS", 0.5)
    outbox.attach(database, None)
    metrics = Metrics("tests")
    relay = Relay(database, bootstrap_servers="127.0.0.1:1", metrics=metrics)
    await write(database, *(note(noted_on(topic), "key", number) for number in range(1, 4)))

    def sample(name: str) -> float:
        return metrics.registry.get_sample_value(name) or 0

    async with running(relay.run):
        await eventually(lambda: sample("waybill_outbox_waiting_rows") == 3)
        await eventually(lambda: sample("waybill_outbox_oldest_seconds") > 0.1)
        await eventually(lambda: sample("waybill_outbox_relay_errors_total") > 0)


async def test_what_was_committed_before_the_relay_is_stopped_still_leaves(
    backing: BackingStack, database: Database, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.relay.CANCEL_GRACE_SECONDS", 8.0)
    relay = a_relay(database, backing, poll_seconds=60)
    outbox.attach(database, relay.wake)
    kind = noted_on(topic)

    async with running(relay.run):
        await write(database, note(kind, "key", 1))
        await eventually(lambda: _is_empty(database))
        await write(database, *(note(kind, "key", number) for number in range(2, 12)))

    assert await _is_empty(database)


async def test_the_relay_takes_no_connection_from_those_that_requests_share(backing: BackingStack, topic: str) -> None:
    async with shared_database(backing, pool_size=1) as database:
        relay = a_relay(database, backing)
        outbox.attach(database, relay.wake)

        async with running(relay.run):
            for number in range(1, 4):
                await write(database, note(noted_on(topic), "key", number))
                await eventually(lambda: _is_empty(database))
            # Eventually: where Kafka did not take the first event at once, what tried again still lets go of its own.
            await eventually(lambda: _has_clients(database, 2))
        await eventually(lambda: _has_clients(database, 1))


async def _has_clients(database: Database, expected: int) -> bool:
    """So many connections, this look's own included. PostgreSQL's own workers, such as autovacuum's, are none."""
    of_clients = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    )
    async with database.reading() as session:
        return bool((await session.execute(text(of_clients))).scalar_one() == expected)


async def seconds_to_stop(run: Callable[[], Awaitable[None]], once: Callable[[], Awaitable[bool]]) -> float:
    task = asyncio.ensure_future(run())
    await eventually(once)
    started = asyncio.get_running_loop().time()
    task.cancel()
    await asyncio.wait([task])
    return asyncio.get_running_loop().time() - started


async def test_the_relay_stops_promptly_with_and_without_kafka(
    backing: BackingStack, database: Database, topic: str
) -> None:
    outbox.attach(database, None)
    await write(database, note(noted_on(topic), "key", 1))
    assert await seconds_to_stop(a_relay(database, backing).run, lambda: _is_empty(database)) < STOP_SECONDS

    metrics = Metrics("tests")
    nowhere = Relay(database, bootstrap_servers="127.0.0.1:1", metrics=metrics)

    async def has_failed() -> bool:
        return (metrics.registry.get_sample_value("waybill_outbox_relay_errors_total") or 0) > 0

    # A turn under way may end, or is broken off; then its client is stopped.
    assert await seconds_to_stop(nowhere.run, has_failed) < CANCEL_GRACE_SECONDS + STOP_SECONDS
