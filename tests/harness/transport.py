"""What tests of the outbox, the consumers and their tools use: a database with the shared tables, topics, events, a plain reader."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import ClassVar, Literal

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from sqlalchemy import text

from shared.events import Event, State, Vocabulary
from shared.ids import new_id
from shared.messaging import topics
from shared.postgres.database import Database
from shared.postgres.migrations import base_table_statements
from tests.harness.stack import BackingStack
from tests.harness.waiting import WAIT_SECONDS

PARTITIONS = 12
STOP_SECONDS = 20.0
COMMITTED_SECONDS = 7.0
"""So long a consumer that stops may try to commit, where a test sees by its offsets what it has done."""


class NoteState(State):
    note: str
    number: int = 0


class Noted(Event):
    """An event for tests; `noted_on` gives it a topic."""

    topic: ClassVar[str] = "tests.notes"
    source: ClassVar[str] = "waybill/tests"
    type: Literal["note.taken"] = "note.taken"
    data: NoteState


_vocabulary = Vocabulary(Noted)


def noted_on(topic: str) -> type[Noted]:
    """The same event, published on this topic."""
    return type("NotedHere", (Noted,), {"topic": topic, "__annotations__": {"topic": ClassVar[str]}})


def read_noted(headers: Mapping[str, str], value: bytes) -> Noted | None:
    """One record as a consumer reads it; None for an event of another type."""
    event = _vocabulary.read(headers, value)
    assert event is None or isinstance(event, Noted)
    return event


def note(kind: type[Noted], subject: str, number: int, words: str = "x") -> Noted:
    return kind(tenant_id=new_id("ten"), subject=subject, sequence=number, data=NoteState(note=words, number=number))


@contextmanager
def plain_logs() -> Iterator[None]:
    """structlog's default draws the locals of each frame of an exception, which takes seconds."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])
    yield
    structlog.reset_defaults()


@asynccontextmanager
async def shared_database(backing: BackingStack, **options: int) -> AsyncIterator[Database]:
    """A new database with the tables that every service has."""
    database = Database(await database_with_shared_tables(backing), application_name="transport-tests", **options)
    try:
        yield database
    finally:
        await database.close()


async def database_with_shared_tables(backing: BackingStack) -> str:
    """The URL of a new database with the tables that every service has."""
    return await asyncio.to_thread(backing.copy_database, "shared", lambda url: asyncio.run(_create_tables(url)))


async def _create_tables(url: str) -> None:
    database = Database(url, application_name="transport-tests")
    async with database.engine.begin() as connection:
        for statement in base_table_statements():
            await connection.execute(text(statement))
    await database.close()


async def new_topic(
    backing: BackingStack, *, partitions: int = PARTITIONS, config: dict[str, str] | None = None
) -> str:
    """A topic that no other test uses, with its dead letter topic."""
    bootstrap = await asyncio.to_thread(lambda: backing.kafka_bootstrap)
    name = f"tests.{secrets.token_hex(6)}.v1"
    await topics.apply(
        bootstrap,
        [
            topics.Topic(name=name, partitions=partitions, replication_factor=1, config=config or {}),
            topics.Topic(name=f"{name}.dlq", partitions=1, replication_factor=1),
        ],
    )
    return name


async def read_records(
    bootstrap: str, topic: str, *, count: int, seconds: float = WAIT_SECONDS, partitions: int = PARTITIONS
) -> Sequence["ConsumerRecord[bytes, bytes]"]:
    """The first records of a topic, in the order of each partition: at least `count`, within `seconds`."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    found: list[ConsumerRecord[bytes, bytes]] = []
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found.extend(records)
        # What came twice would come now.
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found.extend(records)
    finally:
        await consumer.stop()
    assert len(found) >= count, f"{topic}: {len(found)} of {count} records within {seconds} s"
    return found


@asynccontextmanager
async def running(*parts: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """These parts beside the block; afterwards they are cancelled and must end within `STOP_SECONDS`."""
    tasks = [asyncio.ensure_future(part()) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        done, pending = await asyncio.wait(tasks, timeout=STOP_SECONDS) if tasks else (set(), set())
        assert not pending, "a part did not stop"
        for task in done:
            with suppress(asyncio.CancelledError):
                task.result()
