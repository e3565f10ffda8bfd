"""Sends to Kafka: a record is sent when all in-sync replicas have acknowledged it, and every wait has a bound.

An idempotent aiokafka producer never gives a record up while the broker is away, cannot continue after a gap in its sequence, and hangs
when it is stopped in that state. So after any failure the client is discarded and a new one is made; the caller still has what was not
acknowledged, and sends it again in order.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed, UnknownTopicOrPartitionError

from shared.chassis.cancellation import finish
from shared.messaging.client_start import finish_start
from shared.messaging.security import NOT_SECURED, KafkaSecurity

START_SECONDS = 10.0
STOP_SECONDS = 3.0
METADATA_SECONDS = 3.0
METADATA_UPDATES = 2
"""The first may have begun before it was asked about the topic."""
SEND_SECONDS = 10.0

BATCH_BYTES_MAX = 128 * 1024
REQUEST_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """A record to send. When a record is refused, later ones of the same call with the same `order_key` are not sent."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    order_key: int = 0


class NotSent(Exception):
    """The record was not sent, because an earlier one with the same `order_key` was refused."""


class NotAcknowledged(Exception):
    """Kafka did not acknowledge the record in time. It may have the record or not."""


class Producer:
    """One connection to Kafka for sending, made when it is needed. One task at a time may use it."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        client_id: str,
        security: KafkaSecurity = NOT_SECURED,
        request_bytes_max: int = REQUEST_BYTES_MAX,
    ):
        self._bootstrap_servers = bootstrap_servers.split(",")
        self._client_id = client_id
        self._security = security
        self._request_bytes_max = request_bytes_max
        self._client: AIOKafkaProducer | None = None
        self._known_topics: set[str] = set()

    @property
    def is_connected(self) -> bool:
        return self._client is not None

    async def connect(self) -> None:
        """Make the connection if there is none. Raises `KafkaError` or `TimeoutError` within `START_SECONDS` when Kafka is away."""
        if self._client is None:
            self._client = await self._started()

    async def send(self, records: Sequence[Record]) -> list[Exception | None]:
        """Send in order and wait for the acknowledgements. For each record: None if Kafka has it, else the error.

        Takes at most `SEND_SECONDS` and the time to connect. Raises `KafkaError` or `TimeoutError` when Kafka is away.
        """
        await self.connect()
        outcomes: list[Exception | None] = [NotSent() for _ in records]
        acknowledgements: dict[int, asyncio.Future[object]] = {}
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(SEND_SECONDS):
                    await self._queue(records, outcomes, acknowledgements)
                    if acknowledgements:
                        await asyncio.wait(acknowledgements.values())
        finally:
            intact = True
            for index, acknowledgement in acknowledgements.items():
                outcomes[index] = _outcome(acknowledgement)
                intact = intact and outcomes[index] is None
            if not intact:
                await self.discard()
        return outcomes

    async def discard(self) -> None:
        """Close the connection and drop what it has not sent, within 3 × `STOP_SECONDS`. The next call makes a new one."""
        client, self._client = self._client, None
        self._known_topics.clear()
        if client is None:
            return
        # `stop` waits until everything is delivered, which may be never: so everything fails first.
        client._message_accumulator.fail_all(ProducerClosed())
        await _stop(client)

    async def close(self) -> None:
        """Close the connection. Kafka has all that `send` returned None for, so nothing is lost."""
        await self.discard()

    async def _started(self) -> AIOKafkaProducer:
        client = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers,
            client_id=self._client_id,
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=self._request_bytes_max,
            request_timeout_ms=int(SEND_SECONDS * 1000),
            **self._security.client_options,
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await finish_start(client.start())
        except BaseException:
            await _stop(client)
            raise
        return client

    async def _queue(
        self,
        records: Sequence[Record],
        outcomes: list[Exception | None],
        acknowledgements: dict[int, "asyncio.Future[object]"],
    ) -> None:
        refused_keys: set[int] = set()
        for index, record in enumerate(records):
            if record.order_key in refused_keys:
                continue
            try:
                await self._know_topic(record.topic)
                assert self._client is not None
                acknowledgements[index] = await self._client.send(
                    record.topic, record.value, record.key, headers=record.headers
                )
            except (KafkaError, TimeoutError) as error:
                outcomes[index] = error
                refused_keys.add(record.order_key)

    async def _know_topic(self, topic: str) -> None:
        """Return when the topic's partitions are known. Raises `UnknownTopicOrPartitionError` as soon as Kafka does not know it.

        aiokafka waits for a topic that is missing, and with it the records of all others would.
        """
        if topic in self._known_topics:
            return
        assert self._client is not None
        client = self._client.client
        async with asyncio.timeout(METADATA_SECONDS):
            client.add_topic(topic)
            for _ in range(METADATA_UPDATES):
                await client.force_metadata_update()
                if client.cluster.partitions_for_topic(topic) is not None:
                    self._known_topics.add(topic)
                    return
        raise UnknownTopicOrPartitionError(f"Kafka does not know {topic}")


def _outcome(acknowledgement: "asyncio.Future[object]") -> Exception | None:
    if not acknowledgement.done():
        acknowledgement.cancel()
        return NotAcknowledged()
    if acknowledgement.cancelled():
        return NotAcknowledged()
    error = acknowledgement.exception()
    return error if error is None or isinstance(error, Exception) else NotAcknowledged()


async def _stop(client: AIOKafkaProducer) -> None:
    """Stop this client, also when the caller is cancelled: nothing else refers to it, so it would go on for ever."""
    await finish(_stop_or_break(client))


async def _stop_or_break(client: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await client.stop()
    except Exception:
        # Kafka is away, or the client counts on records that have failed. Its tasks and connections are still there: they are closed,
        # so that nothing that it still holds can reach Kafka later, out of order.
        for close in (client._sender.close, client.client.close):
            with suppress(Exception):
                async with asyncio.timeout(STOP_SECONDS):
                    await close()
