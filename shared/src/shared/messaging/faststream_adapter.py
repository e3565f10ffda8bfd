"""FastStream: the one module that imports it, and all that is replaced inside it (docs/decisions/0006).

Its broker makes our consumer (`PrefetchingConsumer`) instead of aiokafka's, gives handlers batches of Kafka's records as they are, and only
consumes. The rest is FastStream's: groups, polling, and when a batch is committed or read again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiokafka import AIOKafkaConsumer
from faststream.exceptions import NackMessage
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaAckableMessage
from faststream.kafka.subscriber.usecase import BatchSubscriber
from faststream.middlewares import AckPolicy

from shared.messaging.prefetching_consumer import OnNewRecords, PrefetchingConsumer
from shared.messaging.records import KafkaRecord
from shared.messaging.security import NOT_SECURED, KafkaSecurity

# Records are delivered as soon as they arrive. These two bound only how often an idle consumer polls, which costs it and the broker time.
BATCH_WAIT_MS = 1000
FETCH_WAIT_MS = 500
SESSION_TIMEOUT_MS = 30_000
HEARTBEAT_MS = 3_000
METADATA_AGE_MS = 20_000
"""A topic that was missing is consumed so long after its creation, at most."""
DRAIN_SECONDS = 4.0
"""Time for a batch under way to end. Without Kafka it cannot commit and never ends, so this leaves time for the other steps of a stop."""

OnBatch = Callable[[Sequence[KafkaRecord]], Awaitable[None]]


class ReadAgain(NackMessage):
    """Raised by a batch's handler: the batch is not committed and is delivered again."""


class PrefetchingBroker(KafkaBroker):
    """FastStream's broker with our consumer in the place of aiokafka's. It only consumes."""

    def __init__(self, bootstrap_servers: str, *, client_id: str, security: KafkaSecurity = NOT_SECURED):
        super().__init__(
            bootstrap_servers.split(","),
            client_id=client_id,
            consumer_only=True,
            # Topics come from a file of their own (`shared.messaging.topics`).
            allow_auto_create_topics=False,
            metadata_max_age_ms=METADATA_AGE_MS,
            # Handlers get records as they are; reading them is `subscriber.Subscription`'s own work.
            apply_types=False,
            serializer=None,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            graceful_timeout=DRAIN_SECONDS,
            logger=logging.getLogger("faststream.kafka"),
            log_level=logging.DEBUG,
        )
        self.bootstrap_servers = bootstrap_servers
        self.security = security
        self._new_record_callbacks: dict[str, OnNewRecords] = {}
        """By group: who is called with records as they arrive."""
        self._added: list[BatchSubscriber] = []

    async def _connect(self) -> Callable[..., AIOKafkaConsumer]:
        build = await super()._connect()
        assert isinstance(build, partial)
        self.config.broker_config.builder = partial(
            PrefetchingConsumer,
            new_record_callbacks=self._new_record_callbacks,
            **{**build.keywords, **self.security.client_options},
        )
        return self.config.broker_config.builder

    async def start(self) -> None:
        """Connect, and have all subscribers join their groups at once.

        FastStream starts one after the other, and joining a group that has members takes until each of them has sent a heartbeat.
        """
        await self.connect()
        async with asyncio.TaskGroup() as starting:
            for one in self.subscribers:
                starting.create_task(one.start())
        self.running = True

    def add_subscriber(
        self,
        topic: str,
        *,
        group_id: str,
        instance: str | None,
        records_max: int,
        on_batch: OnBatch,
        on_new_records: OnNewRecords | None,
    ) -> None:
        """Consume a topic from its beginning in batches of at most so many records, at least once.

        `on_batch` returns when a batch is dealt with, or raises `ReadAgain`. `on_new_records` is called before, as records arrive.
        """

        async def parse(records: tuple[KafkaRecord, ...]) -> KafkaAckableMessage:
            # Headers stay bytes here: one that is not UTF-8 must fail its own record, not the batch.
            consumer = subscriber.consumer or FAKE_CONSUMER
            return KafkaAckableMessage(raw_message=records, body=records, correlation_id="", consumer=consumer)

        async def decode(message: KafkaAckableMessage) -> object:
            return message.raw_message

        subscriber: BatchSubscriber = self.subscriber(
            topic,
            batch=True,
            group_id=group_id,
            group_instance_id=instance,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            auto_offset_reset="earliest",
            max_records=records_max,
            batch_timeout_ms=BATCH_WAIT_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            parser=parse,
            decoder=decode,
            no_reply=True,
            title=f"{topic} for {group_id}",
        )
        subscriber(on_batch)
        if on_new_records is not None:
            self._new_record_callbacks[group_id] = on_new_records
        self._added.append(subscriber)

    @property
    def added_group_ids(self) -> set[str | None]:
        """The groups of the subscribers that `add_subscriber` made."""
        return {one.group_id for one in self._added}

    @property
    def has_others(self) -> bool:
        """Whether there are subscribers that `add_subscriber` did not make: they may lose records."""
        return len(self._added) != len(self.subscribers)

    @property
    def is_consuming(self) -> bool:
        """Whether every subscriber has a task that runs. FastStream puts a new task in the place of one that failed."""
        return all(any(not task.done() for task in one.tasks) for one in self._added)

    async def finish(self, seconds: float) -> None:
        """Read no more, and return when all that was read has been delivered, or after so many seconds for each consumer."""
        for one in self._added:
            if isinstance(one.consumer, PrefetchingConsumer):
                await one.consumer.finish(seconds)
