"""The transactional outbox: an event is stored in the transaction of its change, and the relay sends it to Kafka after the commit.

Invariants: an event whose transaction committed reaches Kafka at least once, and events of one key reach it in the order of their commits.
The second holds for three reasons. A writer locks its aggregate first and inserts into the outbox last. One relay at a time works on a
shard: it locks the shard, never single events. It reads a shard from the smallest id: a cursor over ids would skip an event whose
transaction committed after one with a larger id.

Keys are spread over shards, and an event that Kafka refuses holds up its shard. Events with `separate_shard` have one of their own.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from pydantic_core import to_json
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
)
from sqlalchemy import event as sqlalchemy_events
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from shared.events import Event
from shared.messaging.shard_publisher import KEYED_SHARDS, SEPARATE_SHARD
from shared.observability import traces
from shared.postgres.database import Database
from shared.postgres.driver_connection import driver_of

_QUEUE = "outbox"
_WRITTEN = "outbox_written"
_WATCHED = "outbox_watched"

# The ids follow the order of publication, because the identity column is drawn row by row after the sort.
_INSERT = """
    INSERT INTO outbox (shard, topic, key, headers, value)
    SELECT shard, topic, key, headers::jsonb, value
    FROM unnest($1::smallint[], $2::text[], $3::text[], $4::text[], $5::bytea[])
        WITH ORDINALITY AS event (shard, topic, key, headers, value, position)
    ORDER BY position
"""


def add_tables(metadata: MetaData) -> None:
    """Make the outbox part of a service's own metadata."""
    outbox = Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("shard", SmallInteger, nullable=False),
        Column("topic", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("headers", JSONB, nullable=False, comment="[[name, text], …]"),
        Column("value", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )
    Index(None, outbox.c.shard, outbox.c.id)
    Table("outbox_shards", metadata, Column("shard", SmallInteger, primary_key=True, autoincrement=False))


def attach(database: Database, wake: Callable[[], None] | None) -> None:
    """Have every transaction of this database store its events with its last statement, and wake the relay after the commit.

    Call it after all other `before_commit` hooks were added. `wake` is None where the relay runs in another process.
    """
    database.before_commit.append(write_pending)
    if wake is not None:

        def wake_relay(session: AsyncSession) -> None:
            if session.info.pop(_WRITTEN, False):
                wake()

        database.after_commit.append(wake_relay)


def shard_of(key: str) -> int:
    """The shard of a key: the events of one key share it, except those that are kept apart."""
    return zlib.crc32(key.encode()) % KEYED_SHARDS


@dataclass(frozen=True, slots=True)
class _Pending:
    event: Event
    trace: dict[str, str]
    savepoints: frozenset[SessionTransaction]
    """Those that were open: when one of them is rolled back, the event is not published."""


def publish(session: AsyncSession, event: Event) -> None:
    """Publish this event if the transaction commits. It carries the context of the current span."""
    savepoints = _open_savepoints(session.sync_session)
    if savepoints and not session.info.get(_WATCHED):
        session.info[_WATCHED] = True
        sqlalchemy_events.listen(session.sync_session, "after_soft_rollback", _forget_rolled_back)
    session.info.setdefault(_QUEUE, []).append(_Pending(event, traces.inject(), savepoints))


def pending(session: AsyncSession) -> list[Event]:
    """The events published in this transaction so far and not yet stored."""
    queue: list[_Pending] = session.info.get(_QUEUE, [])
    return [entry.event for entry in queue]


async def write_pending(session: AsyncSession) -> None:
    """Store what was published, in that order, with one statement."""
    queue: list[_Pending] | None = session.info.pop(_QUEUE, None)
    if not queue:
        return
    # This runs with every write.
    driver = await driver_of(session)
    await driver.execute(_INSERT, *zip(*map(_row, queue), strict=True))
    session.info[_WRITTEN] = True


def _row(entry: _Pending) -> tuple[int, str, str, str, bytes]:
    """What `_INSERT` takes of an event."""
    event = entry.event
    shard = SEPARATE_SHARD if event.separate_shard else shard_of(event.subject)
    return (shard, event.topic, event.subject, _headers(entry), event.value())


def _headers(entry: _Pending) -> str:
    return to_json([*entry.event.envelope(), *entry.trace.items()]).decode()


def _open_savepoints(session: Session) -> frozenset[SessionTransaction]:
    transaction = session.get_nested_transaction()
    if transaction is None:
        return frozenset()
    found = []
    while transaction is not None and transaction.nested:
        found.append(transaction)
        transaction = transaction.parent
    return frozenset(found)


def _forget_rolled_back(session: Session, rolled_back: SessionTransaction) -> None:
    queue: list[_Pending] = session.info.get(_QUEUE, [])
    queue[:] = [entry for entry in queue if rolled_back.nested and rolled_back not in entry.savepoints]
