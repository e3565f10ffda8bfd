"""All that is replaced inside FastStream: its broker creates our consumer in the place of aiokafka's, and consumes only."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer
from faststream.kafka import KafkaBroker
from faststream.middlewares import AckPolicy

from shared.messaging.prefetching_consumer import OnNewRecords, PrefetchingConsumer


class PrefetchingBroker(KafkaBroker):
    """FastStream's broker with our consumer in the place of aiokafka's."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.new_record_callbacks: dict[str, OnNewRecords] = {}
        """By group: who is told of records as they arrive."""

    async def _connect(self) -> Callable[..., AIOKafkaConsumer]:
        build = await super()._connect()
        assert isinstance(build, partial)
        self.config.broker_config.builder = partial(
            PrefetchingConsumer, new_record_callbacks=self.new_record_callbacks, **build.keywords
        )
        return self.config.broker_config.builder


# A batch under way may end; it can not while its offsets cannot be committed, and then the rest needs time to stop, too.
DRAIN_SECONDS = 4.0


def create_broker(bootstrap_servers: str, *, client_id: str) -> PrefetchingBroker:
    """A broker for `subscribe`. It consumes only; nothing connects before `Consumers.run`."""
    return PrefetchingBroker(
        bootstrap_servers.split(","),
        client_id=client_id,
        consumer_only=True,
        # Topics come from a file of their own (`shared.messaging.topics`).
        allow_auto_create_topics=False,
        # Handlers get records as they are; reading them is `subscribe`'s own work.
        apply_types=False,
        serializer=None,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        graceful_timeout=DRAIN_SECONDS,
        logger=logging.getLogger("faststream.kafka"),
        log_level=logging.DEBUG,
    )
