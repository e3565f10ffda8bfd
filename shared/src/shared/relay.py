"""The relay: carries facts from the outbox to Kafka. Every replica may run one; they share the work by shard.

A turn is one transaction: lock the shards that have facts and that nobody else works on, read the smallest ids of each,
send them in order, wait for Kafka's acknowledgements, delete, commit. Whatever goes wrong, rows stay and are sent again.
A shard whose next fact Kafka does not take is held back and tried alone, apart from the others, so that it never delays
them; it is never dropped.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.backoff import backoff_seconds
from shared.database import Database
from shared.producer import SEND_SECONDS, Producer, Record
from shared.telemetry import Metrics

SHARDS = 16

TURN_ROWS_MAX = 1000
TURN_BYTES_MAX = 16 * 1024 * 1024
TURN_SECONDS_MAX = 60.0
POLL_SECONDS = 0.2
CONTENTION_SECONDS = 0.005
# A turn costs about the same for one fact as for twenty. Where many arrive, turns begin further apart, so that each has
# more to carry: that halves the relay's work from about 1,500 facts a second on, and delays nobody below that.
SPACING_SECONDS = 0.0015
SPACING_SECONDS_PER_ROW = 0.0004
SPACING_SECONDS_MAX = 0.008
BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 2.0
CANCEL_GRACE_SECONDS = 2.0
CLOSE_SECONDS = 1.0
REPORT_SECONDS = 5.0
REPORTED_ROWS_MAX = 10_000

# Plans are made when the table is nearly empty and kept while a backlog grows: allow only those that stay good. And do
# not wait for the disk: a turn only deletes what Kafka has, so one that a crash undoes is merely sent again.
_CONNECTION_SETTINGS = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET synchronous_commit = off"

_LOCK = """
    WITH waiting AS MATERIALIZED (
        SELECT shard FROM outbox_shards AS s
        WHERE shard = ANY($1::smallint[]) AND EXISTS (SELECT FROM outbox AS o WHERE o.shard = s.shard)
    ), locked AS MATERIALIZED (
        SELECT shard FROM outbox_shards WHERE shard IN (SELECT shard FROM waiting) ORDER BY shard FOR UPDATE SKIP LOCKED
    )
    SELECT (SELECT array_agg(shard) FROM locked) AS locked, (SELECT count(*) FROM waiting) AS waiting
"""

# A statement of its own: it sees the deletions of whoever held a shard until a moment ago, which the locking one need not.
_READ = """
    SELECT id, shard, topic, key, headers, value FROM (
        SELECT id, shard, topic, key, headers::text AS headers, value,
               sum(octet_length(value)) OVER (ORDER BY id) - octet_length(value) AS bytes_before
        FROM unnest($1::smallint[]) AS locked (locked_shard)
        CROSS JOIN LATERAL (SELECT * FROM outbox WHERE shard = locked_shard ORDER BY id LIMIT $2) AS next_facts
    ) AS fact
    WHERE bytes_before < $3
    ORDER BY id
"""

_DELETE = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"

_WAITING = text("SELECT count(*) FROM (SELECT FROM outbox LIMIT :rows_max) AS counted")
_OLDEST = text("SELECT coalesce(extract(epoch FROM now() - created_at), 0) FROM outbox ORDER BY id LIMIT 1")

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The first fact of a shard that Kafka did not acknowledge."""

    outbox_id: int
    topic: str
    key: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did."""

    sent: int = 0
    more: bool = False
    """Read as much as it may: there is probably more."""
    contended: bool = False
    """Some shard has facts, but another relay works on it."""
    refused: Mapping[int, Refusal] = field(default_factory=dict)
    """By shard."""


@dataclass(slots=True)
class _HeldBack:
    failures: int
    retry_at: float


class Relay:
    """Carries facts of one database to Kafka while `run` runs."""

    def __init__(
        self,
        database: Database,
        *,
        bootstrap_servers: str,
        metrics: Metrics,
        rows_max: int = TURN_ROWS_MAX,
        bytes_max: int = TURN_BYTES_MAX,
        poll_seconds: float = POLL_SECONDS,
        send_timeout_seconds: float = SEND_SECONDS,
    ):
        self._database = database
        self._metrics = metrics
        self._rows_max = rows_max
        self._poll_seconds = poll_seconds

        def courier(name: str) -> _Courier:
            client_id = f"{metrics.service}-{name}"
            producer = Producer(bootstrap_servers, client_id=client_id, send_seconds=send_timeout_seconds)
            return _Courier(database, producer, metrics, bytes_max)

        self._courier = courier("relay")
        self._mender = courier("relay-held-back")
        self._woken = asyncio.Event()
        self._held_back: dict[int, _HeldBack] = {}
        self._holding_back = asyncio.Event()

    def wake(self) -> None:
        """Something was committed: look now rather than at the next poll."""
        self._woken.set()

    async def run(self) -> None:
        """Relay until cancelled; the turn under way then still has `CANCEL_GRACE_SECONDS` to end."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._relay())
            parts.create_task(self._mend())
            parts.create_task(self._report())

    async def _relay(self) -> None:
        failures = contentions = 0
        try:
            while True:
                began = time.monotonic()
                self._woken.clear()
                try:
                    turn = await _to_its_end(self._turn())
                except Exception:
                    failures += 1
                    self._metrics.outbox_errors.inc()
                    if _worth_a_line(failures):
                        log.warning("outbox relay failed", failures=failures, exc_info=True)
                    await asyncio.sleep(backoff_seconds(failures, first=BACKOFF_SECONDS, longest=BACKOFF_SECONDS_MAX))
                    continue
                failures = 0
                contentions = contentions + 1 if turn.contended and not turn.sent else 0
                if turn.more:
                    continue
                await asyncio.sleep(max(0.0, began + _spacing(turn.sent) - time.monotonic()))
                await self._pause(contentions if turn.contended else None)
        finally:
            if failures == 0 and self._woken.is_set():
                await self._last_turn()
            await self._courier.close()

    async def _turn(self) -> Turn:
        healthy = [shard for shard in range(SHARDS) if shard not in self._held_back]
        turn = await self._courier.turn(healthy, self._rows_max)
        for shard, refusal in turn.refused.items():
            self._hold_back(shard, refusal)
        return turn

    async def _last_turn(self) -> None:
        """What was committed a moment before the end still leaves; else it waits for the next relay."""
        with suppress(Exception):
            async with asyncio.timeout(CANCEL_GRACE_SECONDS):
                await self._turn()

    async def _pause(self, contentions: int | None) -> None:
        """Until woken or until the next poll; after contention a little only, because nobody wakes us when it ends."""
        seconds = self._poll_seconds
        if contentions is not None:
            seconds = min(seconds, CONTENTION_SECONDS * 2.0 ** min(contentions, 10))
            await asyncio.sleep(seconds * random.uniform(0.5, 1))  # noqa: S311
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds * random.uniform(0.8, 1.2)):  # noqa: S311
                await self._woken.wait()

    # -- Shards held back ----------------------------------------------------------------------------------------------

    def _hold_back(self, shard: int, refusal: Refusal) -> None:
        self._postpone(shard)
        self._holding_back.set()
        self._metrics.outbox_errors.inc()
        failures = self._held_back[shard].failures
        if _worth_a_line(failures):
            log.error(
                "Kafka does not take a fact; its shard waits",
                shard=shard,
                outbox_id=refusal.outbox_id,
                topic=refusal.topic,
                key=refusal.key,
                failures=failures,
                error=repr(refusal.error),
            )

    def _postpone(self, shard: int) -> None:
        failures = self._held_back[shard].failures + 1 if shard in self._held_back else 1
        self._held_back[shard] = _HeldBack(
            failures, time.monotonic() + backoff_seconds(failures, first=BACKOFF_SECONDS, longest=BACKOFF_SECONDS_MAX)
        )
        self._metrics.outbox_held_back_shards.set(len(self._held_back))

    async def _mend(self) -> None:
        """Try shards that were held back, each alone and on connections of its own, until they flow again."""
        try:
            while True:
                self._holding_back.clear()
                if not self._held_back:
                    await self._mender.close()
                    await self._holding_back.wait()
                shard = min(self._held_back, key=lambda held: self._held_back[held].retry_at)
                await asyncio.sleep(max(0.0, self._held_back[shard].retry_at - time.monotonic()))
                # Records that share a batch fail together; one at a time, those before the bad one get through.
                rows_max = self._rows_max if self._held_back[shard].failures == 1 else 1
                await self._mend_shard(shard, rows_max)
        finally:
            await self._mender.close()

    async def _mend_shard(self, shard: int, rows_max: int) -> None:
        try:
            turn = await _to_its_end(self._mender.turn([shard], rows_max))
        except Exception:
            self._metrics.outbox_errors.inc()
            if _worth_a_line(self._held_back[shard].failures):
                log.warning("outbox relay failed for shards held back", shards=sorted(self._held_back), exc_info=True)
            for held in self._held_back:
                self._postpone(held)
            return
        if turn.refused:
            self._hold_back(shard, turn.refused[shard])
        elif not turn.more:
            del self._held_back[shard]
            self._metrics.outbox_held_back_shards.set(len(self._held_back))
            log.info("outbox shard flows again", shard=shard)
            self._woken.set()

    # -- Gauges --------------------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            try:
                async with asyncio.timeout(REPORT_SECONDS), self._database.reading() as session:
                    waiting = (await session.execute(_WAITING, {"rows_max": REPORTED_ROWS_MAX})).scalar_one()
                    oldest = (await session.execute(_OLDEST)).scalar()
                self._metrics.outbox_waiting.set(waiting)
                self._metrics.outbox_oldest_seconds.set(float(oldest or 0))
            except Exception:
                # Figures only; whatever is wrong with the database, the relay itself reports.
                log.debug("outbox figures not available", exc_info=True)
            await asyncio.sleep(REPORT_SECONDS)


class _Courier:
    """One connection to PostgreSQL and one to Kafka; takes turns for one task."""

    def __init__(self, database: Database, producer: Producer, metrics: Metrics, bytes_max: int):
        self._database = database
        self._producer = producer
        self._metrics = metrics
        self._bytes_max = bytes_max
        self._connection: AsyncConnection | None = None
        # asyncpg's own connection: five short statements a turn, and no object between them and the socket.
        self._driver: Any = None

    async def turn(self, shards: Sequence[int], rows_max: int) -> Turn:
        """Relay what these shards have, up to `rows_max`. Raises what keeps it from doing so; nothing is lost then."""
        try:
            async with asyncio.timeout(TURN_SECONDS_MAX):
                # Before the transaction: it must not stay open while we wait for a connection to Kafka.
                await self._producer.connect()
                await self._connect()
                return await self._carry(shards, rows_max)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give both connections up; an open transaction is rolled back. Bounded."""
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        if driver is not None:
            # Whatever state it is in: what asyncpg cannot close in order, it cuts off.
            with suppress(Exception):
                await driver.close(timeout=CLOSE_SECONDS)
        if connection is not None:
            await connection.close()
        await self._producer.close()

    async def _connect(self) -> None:
        if self._connection is None:
            self._connection = await self._database.engine.connect()
            self._driver = (await self._connection.get_raw_connection()).driver_connection
            # It lives as long as the relay, so it must not count among those that requests wait for.
            assert self._connection.sync_connection is not None
            self._connection.sync_connection.detach()
            await self._driver.execute(_CONNECTION_SETTINGS)

    async def _carry(self, shards: Sequence[int], rows_max: int) -> Turn:
        driver = self._driver
        await driver.execute("BEGIN")
        locked, waiting = await driver.fetchrow(_LOCK, shards)
        if not locked:
            await driver.execute("ROLLBACK")
            return Turn(contended=waiting > 0)
        shard_rows_max = max(1, rows_max // len(locked))
        rows = await driver.fetch(_READ, locked, shard_rows_max, self._bytes_max)
        outcomes = await self._producer.send([_record(row) for row in rows])
        sent, refused = _settle(rows, outcomes)
        if sent:
            await driver.execute(_DELETE, [row["id"] for row in sent])
        await driver.execute("COMMIT")
        for row in sent:
            self._metrics.outbox_relayed.labels(row["topic"]).inc()
        full = max(Counter(row["shard"] for row in rows).values()) >= shard_rows_max
        cut = sum(len(row["value"]) for row in rows) >= self._bytes_max
        return Turn(len(sent), bool(sent) and (full or cut), waiting > len(locked), refused)


def _record(row: Mapping[str, Any]) -> Record:
    headers = [(name, value.encode()) for name, value in json.loads(row["headers"])]
    return Record(row["topic"], row["key"].encode(), row["value"], headers, lane=row["shard"])


def _settle(
    rows: Sequence[Mapping[str, Any]], outcomes: Sequence[Exception | None]
) -> tuple[list[Mapping[str, Any]], dict[int, Refusal]]:
    """What to delete (of each shard, everything before its first failure: the rest is sent again, in order), and why not."""
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


def _spacing(sent: int) -> float:
    """Seconds from the start of a turn that sent so many to the start of the next."""
    return min(SPACING_SECONDS_MAX, SPACING_SECONDS + SPACING_SECONDS_PER_ROW * sent) if sent else 0.0


def _worth_a_line(failures: int) -> bool:
    """Log failure 1, 2, 4, 8, … and then each 30th, which is about one a minute."""
    return failures & (failures - 1) == 0 or failures % 30 == 0


async def _to_its_end(turn: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Await it; when we are cancelled meanwhile, it still gets `CANCEL_GRACE_SECONDS` before it is cancelled, too."""
    task = asyncio.ensure_future(turn)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task], timeout=CANCEL_GRACE_SECONDS)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # Seen: it would be logged as lost otherwise.
        raise
