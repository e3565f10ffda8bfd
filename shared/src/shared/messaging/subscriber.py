"""One consumer of one topic: batches, each handled in one database transaction, at least once.

Offsets are committed after the transaction. A record that cannot be read, or that its handler refuses with a `WaybillError`, goes to the
dead letter topic before its offset is committed, so it never blocks others. Any other failure is transient: the batch is read again after a
delay. So handlers must accept repeats, for example with an upsert guarded by version.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from opentelemetry import trace
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.chassis.retry_delay import retry_delay_seconds
from shared.errors import Unavailable, WaybillError
from shared.events import text_headers
from shared.messaging import dead_letters
from shared.messaging.faststream_adapter import PrefetchingBroker, ReadAgain
from shared.messaging.producer import Producer
from shared.messaging.records import KafkaRecord
from shared.observability import redaction, traces
from shared.observability.metrics import Metrics
from shared.postgres.database import Database

log = structlog.get_logger(__name__)

BATCH_RECORDS_MAX = 500
BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 5.0

REASON_CHARACTERS_MAX = 500
REASON_VIOLATIONS_MAX = 5
LOGGED_EVENTS_MAX = 10
LINKED_SPANS_MAX = 32
PREPARSED_RECORDS_MAX = 4096

ItemT = TypeVar("ItemT")


def subscribe(
    broker: PrefetchingBroker,
    *,
    topic: str,
    group: str,
    read: Callable[[Mapping[str, str], bytes], ItemT | None],
    handle: Callable[[AsyncSession, list[ItemT]], Awaitable[None]],
    database: Database,
    metrics: Metrics,
    on_new_records: Callable[[Sequence[ItemT]], None] | None = None,
    instance: str | None = None,
    prefix: str = "",
    batch_max: int = BATCH_RECORDS_MAX,
) -> "Subscription[ItemT]":
    """Consume a topic from its beginning: `read` one record (None: not for us), `handle` a batch in one transaction.

    `group` names the consumer (usually the service); its Kafka group is `<group>.<topic>`, so that a rebalance on one
    topic leaves the others alone. A replica that has a name of its own (`instance`) takes its partitions back at once after
    a crash; without one they wait until the session of the dead consumer ends (`SESSION_TIMEOUT_MS`). `on_new_records` gets items as soon
    as they arrive, while an earlier batch may still be handled: each item once, before `handle` gets it. In Kafka the names of the topic
    and of the group begin with `prefix`.
    """
    subscription = Subscription(
        topic=topic,
        prefix=prefix,
        consumer=group,
        read=read,
        handle=handle,
        on_new_records=on_new_records,
        database=database,
        metrics=metrics,
        dead_letter_producer=Producer(
            broker.bootstrap_servers,
            client_id=f"{group}-dead-letters",
            security=broker.security,
            request_bytes_max=dead_letters.REQUEST_BYTES_MAX,
        ),
    )

    broker.add_subscriber(
        subscription.kafka_topic,
        group_id=subscription.group_id,
        instance=instance,
        records_max=batch_max,
        on_batch=subscription.on_batch,
        on_new_records=None if on_new_records is None else subscription.on_new,
    )
    return subscription


# One is made for each record, and a frozen one takes three times as long.
@dataclass(slots=True)
class _ParsedRecord(Generic[ItemT]):
    record: KafkaRecord
    headers: Mapping[str, str]
    item: ItemT


@dataclass(frozen=True, slots=True)
class _RefusedRecord:
    record: KafkaRecord
    reason: str


class Subscription(Generic[ItemT]):
    """One consumer of one topic."""

    def __init__(
        self,
        *,
        topic: str,
        prefix: str,
        consumer: str,
        read: Callable[[Mapping[str, str], bytes], ItemT | None],
        handle: Callable[[AsyncSession, list[ItemT]], Awaitable[None]],
        on_new_records: Callable[[Sequence[ItemT]], None] | None,
        database: Database,
        metrics: Metrics,
        dead_letter_producer: Producer,
    ):
        self.topic = topic
        self.consumer = consumer
        self.kafka_topic = f"{prefix}{topic}"
        self.group_id = f"{prefix}{consumer}.{topic}"
        self._read = read
        self._handle = handle
        self._on_new_records = on_new_records
        self._preparsed: dict[tuple[int, int], _ParsedRecord[ItemT]] = {}
        """Records that were parsed when they arrived, by partition and offset."""
        self._database = database
        self._dead_letter_producer = dead_letter_producer
        self._failures = 0
        labels = (consumer, topic)
        self._consumed = metrics.consumed.labels(*labels)
        self._errors = metrics.consumer_errors.labels(*labels)
        self._dead_letters_total = metrics.dead_letters.labels(*labels)
        self._delay_seconds = metrics.consumer_delay_seconds.labels(*labels)

    async def on_batch(self, records: Sequence[KafkaRecord]) -> None:
        """Handle a batch. Returns when all of it is handled or a dead letter; else waits and raises `ReadAgain`."""
        try:
            await self._process(records)
        except Exception as error:
            self._failures += 1
            self._errors.inc()
            delay_seconds = retry_delay_seconds(self._failures, first=BACKOFF_SECONDS, longest=BACKOFF_SECONDS_MAX)
            log.warning(
                "batch_failed",
                topic=self.topic,
                consumer=self.consumer,
                records=len(records),
                failures=self._failures,
                delay_seconds=round(delay_seconds, 3),
                exc_info=True,
            )
            await asyncio.sleep(delay_seconds)
            raise ReadAgain from error
        self._failures = 0
        self._consumed.inc(len(records))
        self._delay_seconds.observe(max(0.0, time.time() - min(record.timestamp for record in records) / 1000))

    def on_new(self, records: Sequence[KafkaRecord]) -> None:
        """Pass on records that have arrived and will be delivered in a batch."""
        assert self._on_new_records is not None
        if len(self._preparsed) > PREPARSED_RECORDS_MAX:
            # They are left from partitions that another consumer owns now.
            self._preparsed.clear()
        items: list[ItemT] = []
        for record in records:
            with suppress(Exception):
                # A record that cannot be read becomes a dead letter in its batch.
                readable = self._parse(record)
                if readable is not None:
                    self._preparsed[record.partition, record.offset] = readable
                    items.append(readable.item)
        self._on_new_records(items)

    async def close(self) -> None:
        await self._dead_letter_producer.close()

    async def _process(self, records: Sequence[KafkaRecord]) -> None:
        readable: list[_ParsedRecord[ItemT]] = []
        bad: list[_RefusedRecord] = []
        for record in records:
            # Reading is pure: what it raises comes from the record, and would come again.
            try:
                one = self._preparsed.pop((record.partition, record.offset), None) or self._parse(record)
            except Exception as error:
                bad.append(_RefusedRecord(record, _reason(error)))
                continue
            if one is not None:
                readable.append(one)
        bad.extend(await self._handle_all(readable))
        # Last, because a batch that fails above is read again: each time its bad records would become dead letters.
        if bad:
            await self._send_to_dead_letters(bad)

    def _parse(self, record: KafkaRecord) -> _ParsedRecord[ItemT] | None:
        headers = text_headers(record.headers)
        item = self._read(headers, record.value or b"")
        return None if item is None else _ParsedRecord(record, headers, item)

    async def _handle_all(self, readable: Sequence[_ParsedRecord[ItemT]]) -> list[_RefusedRecord]:
        """Handle in one transaction, or one by one when that is refused. Returns the records that were refused."""
        if not readable:
            return []
        try:
            await self._handle_in_transaction(readable)
            return []
        except Unavailable:
            raise
        except WaybillError as error:
            if len(readable) == 1:
                return [_RefusedRecord(readable[0].record, _reason(error))]
        refused: list[_RefusedRecord] = []
        for one in readable:
            try:
                await self._handle_in_transaction([one])
            except Unavailable:
                raise
            except WaybillError as error:
                refused.append(_RefusedRecord(one.record, _reason(error)))
        return refused

    async def _handle_in_transaction(self, readable: Sequence[_ParsedRecord[ItemT]]) -> None:
        event_ids = [one.headers.get("ce_id", "") for one in readable[:LOGGED_EVENTS_MAX]]
        with (
            structlog.contextvars.bound_contextvars(topic=self.topic, consumer=self.consumer, event_ids=event_ids),
            _span(self.topic, [one.headers for one in readable]),
        ):
            async with self._database.transaction() as session:
                await self._handle(session, [one.item for one in readable])

    async def _send_to_dead_letters(self, bad: Sequence[_RefusedRecord]) -> None:
        """Send records to the dead letter topic, unchanged, with origin and reason. Raises when Kafka does not acknowledge."""
        for one in bad:
            log.error(
                "record_dead_lettered",
                topic=self.topic,
                consumer=self.consumer,
                partition=one.record.partition,
                offset=one.record.offset,
                reason=one.reason,
            )
        letters = [dead_letters.dead_letter(one.record, reason=one.reason, consumer=self.consumer) for one in bad]
        outcomes = await self._dead_letter_producer.send(letters)
        for failure in outcomes:
            if failure is not None:
                raise failure
        self._dead_letters_total.inc(len(bad))


@contextmanager
def _span(topic: str, headers: Sequence[Mapping[str, str]]) -> Iterator[None]:
    """A span of the records' trace when they share one; else a new one with links to theirs."""
    parents = {one["traceparent"]: one for one in headers if "traceparent" in one}
    contexts = [traces.extract(parent) for parent in list(parents.values())[:LINKED_SPANS_MAX]]
    spans = [trace.get_current_span(context).get_span_context() for context in contexts]
    shared = len(parents) <= LINKED_SPANS_MAX and len({span.trace_id for span in spans}) == 1
    with traces.tracer().start_as_current_span(
        f"process {topic}",
        context=contexts[0] if shared else None,
        kind=trace.SpanKind.CONSUMER,
        links=[] if len(spans) == 1 else [trace.Link(span) for span in spans if span.is_valid],
    ):
        yield


def _reason(error: Exception) -> str:
    """The reason as text, without the values that a validation error would quote."""
    if isinstance(error, ValidationError):
        violations = error.errors(include_url=False, include_input=False, include_context=False)
        places = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in violations[:REASON_VIOLATIONS_MAX]]
        return f"{error.title}: {'; '.join(places)}"[:REASON_CHARACTERS_MAX]
    return str(redaction.redact(f"{type(error).__name__}: {error}"))[:REASON_CHARACTERS_MAX]
