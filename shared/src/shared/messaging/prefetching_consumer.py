"""aiokafka's consumer with four changes, for FastStream (docs/decisions/0006).

- A poll returns only with records. FastStream sleeps after an empty poll, and a record that arrives meanwhile would wait.
- Offsets are committed in the background, for several batches at once. FastStream waits for each commit before it polls again. What is
  committed was handled before; after a crash at most `COMMIT_SECONDS` of work is done again.
- A consumer with an `OnNewRecords` callback prefetches while a batch is being handled. FastStream polls after it.
- A consumer starts without its topic and begins when it is there. aiokafka's does not start, and with it no other of the process.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError

from shared.messaging.client_start import finish_start
from shared.messaging.records import KafkaRecord

log = structlog.get_logger(__name__)

TOPIC_SECONDS = 5.0
"""A new topic is known to all brokers within this time."""
COMMIT_SECONDS = 0.05
LAST_COMMIT_SECONDS = 2.0
CLOSE_SECONDS = 1.0
PREFETCHED_RECORDS_MAX = 1000
"""Records that wait in memory while a batch is being handled."""
ANNOUNCED_RECORDS_MAX = 64
"""With more records waiting, new ones are not announced: an announcement would save them no time."""
READ_SECONDS = 1.0
REVOKED_SECONDS = 2.0
"""Grace period on revoke, in which records that were read are handled."""

OnNewRecords = Callable[[Sequence[KafkaRecord]], None]
RecordsByPartition = Mapping[TopicPartition, Sequence[KafkaRecord]]


class PrefetchingConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka publishes no types
    """A consumer whose `commit` records that all delivered records are handled, and returns at once.

    `new_record_callbacks` holds by group who is called with records as soon as they arrive, before they are delivered. Only records
    published while this consumer owned the partition are announced, each of them once: no other consumer can have handled them.
    """

    def __init__(self, *topics: str, new_record_callbacks: Mapping[str, OnNewRecords] | None = None, **options: Any):
        super().__init__(*topics, **options)
        self._on_new_records = (new_record_callbacks or {}).get(options.get("group_id") or "")
        self._delivered: dict[TopicPartition, int] = {}
        self._handled: dict[TopicPartition, int] = {}
        self._committing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._finishing = False
        self._prefetched: dict[TopicPartition, deque[KafkaRecord]] = {}
        self._moved = asyncio.Event()
        """Set when records were added to `_prefetched` or taken out, or when reading ended."""
        self._new_from: dict[TopicPartition, int] = {}
        """By partition, the first offset that is new."""
        self._unknown_start: set[TopicPartition] = set()
        """Partitions whose first new offset is not known yet."""

    def subscribe(
        self, topics: Sequence[str] = (), pattern: str | None = None, listener: ConsumerRebalanceListener | None = None
    ) -> None:
        super().subscribe(topics=topics, pattern=pattern, listener=RebalanceListener(self, listener))

    async def start(self) -> None:
        await finish_start(super().start())

    async def _wait_topics(self) -> None:
        try:
            async with asyncio.timeout(TOPIC_SECONDS):
                await super()._wait_topics()
        except TimeoutError:
            log.error("topic_missing", topics=sorted(self.subscription()))

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> RecordsByPartition:
        """The next records; waits until there are some. Raises `ConsumerStoppedError` after `stop`."""
        found: RecordsByPartition = {}
        while not found:
            if self._on_new_records is None:
                found = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
            else:
                found = await self._next_prefetched(max_records or PREFETCHED_RECORDS_MAX)
        self._delivered = {partition: records[-1].offset + 1 for partition, records in found.items()}
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read the partition from this offset; records prefetched from it are dropped."""
        self._prefetched.pop(partition, None)
        super().seek(partition, offset)

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        self._handled.update(self._delivered if offsets is None else offsets)
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_handled())

    async def finish(self, seconds: float) -> None:
        """Stop reading, and return when all prefetched records are delivered, or after so many seconds."""
        self._finishing = True
        await self.drain(seconds)

    async def drain(self, seconds: float) -> None:
        """Return when all prefetched records are delivered, or after so many seconds."""
        if self._reading is not None:
            self._reading.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(self._prefetched.values()):
                    self._moved.clear()
                    await self._moved.wait()

    async def stop(self) -> None:
        """Commit what was handled, within `LAST_COMMIT_SECONDS`, then leave the group."""
        self._finishing = True
        if self._reading is not None:
            self._reading.cancel()
        if self._committing is not None:
            await asyncio.wait([self._committing], timeout=LAST_COMMIT_SECONDS)
            self._committing.cancel()
        try:
            await super().stop()
        finally:
            # While Kafka is away `stop` may not close the client, which would go on connecting.
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._client.close()
            self._moved.set()

    def assigned(self, partitions: set[TopicPartition]) -> None:
        """The consumer now owns these partitions; what it prefetched before is dropped."""
        self._prefetched.clear()
        self._unknown_start = set(partitions)

    async def _commit_handled(self) -> None:
        while self._handled:
            offsets, self._handled = self._handled, {}
            mine = {partition: offset for partition, offset in offsets.items() if partition in self.assignment()}
            try:
                if mine:
                    await super().commit(mine)
            except KafkaError as error:
                # Another consumer owns the partitions now, and reads again what was handled here last.
                log.warning("offsets_not_committed", error=repr(error), partitions=len(mine))
            await asyncio.sleep(COMMIT_SECONDS)

    # -- prefetching -------------------------------------------------------------------------------------------------------

    async def _next_prefetched(self, records_max: int) -> RecordsByPartition:
        while not any(self._prefetched.values()):
            reading = self._reading
            if reading is not None and reading.done():
                self._reading = None
                if not reading.cancelled():
                    reading.result()
            if self._finishing and self._closed:
                raise ConsumerStoppedError
            if self._reading is None and not self._finishing:
                self._reading = asyncio.create_task(self._prefetch(), name="prefetch")
                self._reading.add_done_callback(lambda _: self._moved.set())
            self._moved.clear()
            await self._moved.wait()
        found: dict[TopicPartition, list[KafkaRecord]] = {}
        for partition, records in self._prefetched.items():
            some = [records.popleft() for _ in range(min(len(records), records_max))]
            records_max -= len(some)
            if some:
                found[partition] = some
        self._moved.set()
        return found

    async def _prefetch(self) -> None:
        """Prefetch until something fails; the next poll raises the error."""
        while True:
            while sum(map(len, self._prefetched.values())) >= PREFETCHED_RECORDS_MAX:
                self._moved.clear()
                await self._moved.wait()
            found: RecordsByPartition = await super().getmany(
                timeout_ms=int(READ_SECONDS * 1000), max_records=PREFETCHED_RECORDS_MAX
            )
            self._resolve_unknown_starts()
            new_records: list[KafkaRecord] = []
            for partition, records in found.items():
                self._prefetched.setdefault(partition, deque()).extend(records)
                new_records += self._new_records(partition, records)
            if new_records and sum(map(len, self._prefetched.values())) <= ANNOUNCED_RECORDS_MAX:
                self._announce(new_records)
            if found:
                self._moved.set()

    def _resolve_unknown_starts(self) -> None:
        for partition in list(self._unknown_start & self.assignment()):
            # Records that were there at the first fetch may have been handled by the owner before.
            end = self.highwater(partition)
            if end is not None:
                self._new_from[partition] = max(self._new_from.get(partition, 0), end)
                self._unknown_start.discard(partition)

    def _new_records(self, partition: TopicPartition, records: Sequence[KafkaRecord]) -> Sequence[KafkaRecord]:
        new_from = self._new_from.get(partition)
        if new_from is None or partition in self._unknown_start:
            return ()
        self._new_from[partition] = max(new_from, records[-1].offset + 1)
        return [record for record in records if record.offset >= new_from]

    def _announce(self, new_records: Sequence[KafkaRecord]) -> None:
        assert self._on_new_records is not None
        try:
            self._on_new_records(new_records)
        except Exception:
            # They are delivered anyway.
            log.exception("new_records_callback_failed", records=len(new_records))


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Waits on revoke until prefetched records are handled, and starts prefetching again after an assignment."""

    def __init__(self, consumer: PrefetchingConsumer, then: ConsumerRebalanceListener | None):
        self._consumer = consumer
        self._then = then

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._consumer.drain(REVOKED_SECONDS)
        if self._then is not None:
            await _done(self._then.on_partitions_revoked(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._consumer.assigned(assigned)
        if self._then is not None:
            await _done(self._then.on_partitions_assigned(assigned))


async def _done(result: object) -> None:
    if inspect.isawaitable(result):
        await result
