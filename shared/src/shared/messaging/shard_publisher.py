"""Publishes the events of outbox shards: one connection to PostgreSQL, one to Kafka, one transaction a turn.

A turn locks the shards that have events and that no other relay works on, reads the smallest ids of each, sends them in order, waits for
Kafka's acknowledgements, deletes the rows, and commits. When anything fails, the rows stay and are sent again.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.messaging.producer import Producer, Record
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.postgres.driver_connection import DriverConnection

KEYED_SHARDS = 16
"""Shards of the events that are spread by key."""
SEPARATE_SHARD = KEYED_SHARDS
"""The shard of the events that are kept apart (`Event.separate_shard`)."""
SHARDS = KEYED_SHARDS + 1
TURN_SECONDS_MAX = 60.0

# Plans are made when the table is nearly empty and kept while a backlog grows: only those are allowed that stay good. A
# commit does not wait for the disk: a turn only deletes what Kafka has, so after a crash it is merely sent again.
_CONNECTION_SETTINGS = {"enable_seqscan": "off", "enable_bitmapscan": "off", "synchronous_commit": "off"}

_LOCK = """
    WITH waiting AS MATERIALIZED (
        SELECT shard FROM outbox_shards AS s
        WHERE shard = ANY($1::smallint[]) AND EXISTS (SELECT FROM outbox AS o WHERE o.shard = s.shard)
    ), locked AS MATERIALIZED (
        SELECT shard FROM outbox_shards WHERE shard IN (SELECT shard FROM waiting) ORDER BY shard FOR UPDATE SKIP LOCKED
    )
    SELECT (SELECT array_agg(shard) FROM locked) AS locked, (SELECT count(*) FROM waiting) AS waiting
"""

# A statement of its own: its snapshot sees the deletions of a relay that held the shard until now; that of the locking statement may not.
_READ = """
    SELECT id, shard, topic, key, headers, value FROM (
        SELECT id, shard, topic, key, headers::text AS headers, value,
               sum(octet_length(value)) OVER (ORDER BY id) - octet_length(value) AS bytes_before
        FROM unnest($1::smallint[]) AS locked (locked_shard)
        CROSS JOIN LATERAL (SELECT * FROM outbox WHERE shard = locked_shard ORDER BY id LIMIT $2) AS next_events
    ) AS event
    WHERE bytes_before < $3
    ORDER BY id
"""

_ANY = "SELECT EXISTS (SELECT FROM outbox)"

_DELETE = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The first event of a shard that Kafka did not acknowledge."""

    outbox_id: int
    topic: str
    key: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Turn:
    """The result of one turn. `refused` is by shard."""

    sent: int = 0
    more: bool = False
    """It read as much as it may: there is probably more."""
    contended: bool = False
    """Some shard has events, but another relay works on it."""
    refused: Mapping[int, Refusal] = field(default_factory=dict)


class ShardPublisher:
    """One connection to PostgreSQL and one to Kafka, for one task."""

    def __init__(
        self, database: Database, producer: Producer, metrics: Metrics, bytes_max: int, prefix: str, *, name: str
    ):
        # Beside the pool: it lives as long as the relay, so it must not count among those that requests wait for.
        self._connection = DriverConnection(database, name, **_CONNECTION_SETTINGS)
        self._producer = producer
        self._metrics = metrics
        self._bytes_max = bytes_max
        self._prefix = prefix

    async def turn(self, shards: Sequence[int], rows_max: int) -> Turn:
        """Send what these shards have, at most `rows_max` events. Whatever it raises, no event is lost."""
        try:
            async with asyncio.timeout(TURN_SECONDS_MAX):
                # Before the transaction begins: it must not stay open while the connection to Kafka is made.
                await self._producer.connect()
                await self._connection.connect()
                return await self._publish(shards, rows_max)
        except BaseException:
            await self.close()
            raise

    async def is_idle(self) -> bool:
        """Whether it is connected and the outbox is empty, in one round trip; a turn that finds nothing takes three."""
        if not self._producer.is_connected:
            return False
        try:
            async with asyncio.timeout(TURN_SECONDS_MAX):
                return not await (await self._connection.connect()).fetchval(_ANY)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close both connections, within a bound; an open transaction is rolled back."""
        await self._connection.close()
        await self._producer.close()

    async def _publish(self, shards: Sequence[int], rows_max: int) -> Turn:
        async with self._connection.transaction() as driver:
            locked, waiting = await driver.fetchrow(_LOCK, shards)
            if not locked:
                return Turn(contended=waiting > 0)
            shard_rows_max = max(1, rows_max // len(locked))
            rows = await driver.fetch(_READ, locked, shard_rows_max, self._bytes_max)
            outcomes = await self._producer.send([_record(row, self._prefix) for row in rows])
            sent, refused = _settle(rows, outcomes)
            if sent:
                await driver.execute(_DELETE, [row["id"] for row in sent])
        for row in sent:
            self._metrics.outbox_relayed.labels(row["topic"]).inc()
        full = max(Counter(row["shard"] for row in rows).values()) >= shard_rows_max
        cut = sum(len(row["value"]) for row in rows) >= self._bytes_max
        return Turn(len(sent), bool(sent) and (full or cut), waiting > len(locked), refused)


def _record(row: Mapping[str, Any], prefix: str) -> Record:
    headers = [(name, value.encode()) for name, value in json.loads(row["headers"])]
    return Record(prefix + row["topic"], row["key"].encode(), row["value"], headers, order_key=row["shard"])


def _settle(
    rows: Sequence[Mapping[str, Any]], outcomes: Sequence[Exception | None]
) -> tuple[list[Mapping[str, Any]], dict[int, Refusal]]:
    """The rows to delete, and the refusals.

    Of each shard only rows before its first failure are deleted; the rest is sent again, in order.
    """
    sent = []
    refused: dict[int, Refusal] = {}
    for row, error in zip(rows, outcomes, strict=True):
        if row["shard"] in refused:
            continue
        if error is None:
            sent.append(row)
        else:
            refused[row["shard"]] = Refusal(row["id"], row["topic"], row["key"], error)
    return sent, refused
