"""Consumer lag, and the proof that a consumer has handled everything: its projection is as new as the latest proof.

The monitor reads the end of every partition, then the offsets that the group has committed. When no committed offset is less than the end,
all that was published before is in the consumer's database. This needs no messages of its own. For a consumer that is stopped, stuck or cut
off there are no new proofs.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from sqlalchemy import BigInteger, Column, DateTime, MetaData, Table, Text

from shared.chassis.cancellation import finish
from shared.chassis.parts import periodically
from shared.chassis.retry_delay import is_worth_logging
from shared.messaging.client_start import finish_start
from shared.messaging.security import NOT_SECURED, KafkaSecurity
from shared.observability.metrics import Metrics
from shared.postgres.database import Database
from shared.postgres.driver_connection import driver_reading

CHECK_SECONDS = 1.0
CHECK_SECONDS_MAX = 10.0
PARTITIONS_KNOWN_SECONDS = 60.0
OFFSETS_KNOWN_SECONDS = 10.0
"""A group that has handled everything is not asked again for its offsets before its topic has more, or for so long."""
CLOSE_SECONDS = 3.0

# The clock of the database, so that readers can compare with it. It is read before Kafka is asked: whatever is slow afterwards, even if the
# process stands still, makes a proof older, never newer.
_NOW = "SELECT clock_timestamp()"
# Processes may finish out of order: the instant never goes back.
_PROVEN = """
    INSERT INTO consumer_progress (consumer, topic, caught_up_at, lag)
    SELECT consumer, topic, $3, 0 FROM unnest($1::text[], $2::text[]) AS proven (consumer, topic) ORDER BY consumer, topic
    ON CONFLICT (consumer, topic) DO UPDATE
    SET caught_up_at = greatest(consumer_progress.caught_up_at, EXCLUDED.caught_up_at), lag = 0
"""
_BEHIND = "UPDATE consumer_progress SET lag = $3 WHERE consumer = $1 AND topic = $2"

log = structlog.get_logger(__name__)


class ConsumedTopic(Protocol):
    """A topic and its consumer, such as a `shared.messaging.subscriber.Subscription`."""

    topic: str
    kafka_topic: str
    consumer: str
    group_id: str


@dataclass(slots=True)
class _Watched:
    subscription: ConsumedTopic
    partitions: list[TopicPartition]
    proven_at: float
    """Monotonic time of the last proof; of the start before the first."""
    handled_to: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Where its partitions ended when the group was last asked and had handled everything."""
    asked_at: float = float("-inf")
    """Monotonic time at which the group was last asked."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """When Kafka was asked where its partitions end: by the database's clock and by the process's."""

    at: datetime
    monotonic: float


def add_tables(metadata: MetaData) -> None:
    """Add the table of proofs to a service's metadata."""
    Table(
        "consumer_progress",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("topic", Text, primary_key=True),
        Column("caught_up_at", DateTime(timezone=True), nullable=False, comment="Everything older has been handled."),
        Column("lag", BigInteger, nullable=False, comment="Records not yet handled when last looked."),
    )


class LagMonitor:
    """Writes `consumer_progress` and the lag metrics for the consumers of a process while `run` runs."""

    def __init__(
        self,
        database: Database,
        *,
        bootstrap_servers: str,
        security: KafkaSecurity = NOT_SECURED,
        subscriptions: Sequence[ConsumedTopic],
        metrics: Metrics,
        interval_seconds: float = CHECK_SECONDS,
    ):
        self._database = database
        self._bootstrap_servers = bootstrap_servers.split(",")
        self._security = security
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._watched = [_Watched(subscription, [], time.monotonic()) for subscription in subscriptions]
        self._failures = 0
        self._partitions_known_at = float("-inf")
        self._clients: tuple[AIOKafkaConsumer, AIOKafkaAdminClient] | None = None

    async def run(self) -> None:
        """Check every `interval_seconds` until cancelled."""
        try:
            await periodically(self._look, self._interval_seconds)()
        finally:
            await self._close()

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                await self._check()
            self._failures = 0
        except Exception:
            self._failures += 1
            if is_worth_logging(self._failures):
                log.warning("consumer_lag_not_read", failures=self._failures, exc_info=True)
            await self._close()
        self._report_staleness()

    async def _check(self) -> None:
        consumer, admin = await self._connected()
        await self._refresh_partitions(admin)
        async with driver_reading(self._database) as driver:
            asked = _Asked(await driver.fetchval(_NOW), time.monotonic())
        partitions = [partition for watched in self._watched for partition in watched.partitions]
        ends = await consumer.end_offsets(partitions)
        known = [watched for watched in self._watched if watched.partitions]
        lags = {id(watched): await _lag(consumer, admin, watched, ends) for watched in known}
        await self._record([(watched, lags[id(watched)]) for watched in known], asked)
        missing = [watched.subscription.kafka_topic for watched in self._watched if not watched.partitions]
        if missing:
            # The others are proven by now: a topic that is missing must not make them stale.
            raise LookupError(f"Kafka does not know {', '.join(missing)}")

    async def _record(self, lags: Sequence[tuple[_Watched, int]], asked: _Asked) -> None:
        names = {id(watched): (watched.subscription.consumer, watched.subscription.topic) for watched, _ in lags}
        proven = [watched for watched, lag in lags if lag == 0]
        async with driver_reading(self._database) as driver:
            if proven:
                consumers, topics = zip(*(names[id(watched)] for watched in proven), strict=True)
                await driver.execute(_PROVEN, consumers, topics, asked.at)
            for watched, lag in lags:
                if lag > 0:
                    await driver.execute(_BEHIND, *names[id(watched)], lag)
        for watched, lag in lags:
            if lag == 0:
                watched.proven_at = asked.monotonic
            self._metrics.consumer_lag.labels(*names[id(watched)]).set(lag)

    def _report_staleness(self) -> None:
        now = time.monotonic()
        for watched in self._watched:
            gauge = self._metrics.consumer_staleness_seconds
            gauge.labels(watched.subscription.consumer, watched.subscription.topic).set(now - watched.proven_at)

    async def _refresh_partitions(self, admin: AIOKafkaAdminClient) -> None:
        now = time.monotonic()
        if now - self._partitions_known_at < PARTITIONS_KNOWN_SECONDS:
            return
        topics = sorted({watched.subscription.kafka_topic for watched in self._watched})
        found = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics(topics)}
        for watched in self._watched:
            topic = watched.subscription.kafka_topic
            watched.partitions = [TopicPartition(topic, partition["partition"]) for partition in found.get(topic, ())]
        self._partitions_known_at = now

    async def _connected(self) -> tuple[AIOKafkaConsumer, AIOKafkaAdminClient]:
        if self._clients is None:
            options = {
                "bootstrap_servers": self._bootstrap_servers,
                "client_id": f"{self._metrics.service}-progress",
                **self._security.client_options,
            }
            self._clients = (AIOKafkaConsumer(group_id=None, **options), AIOKafkaAdminClient(**options))
            for client in self._clients:
                await finish_start(client.start())
        return self._clients

    async def _close(self) -> None:
        clients, self._clients = self._clients, None
        self._partitions_known_at = float("-inf")
        if clients is None:
            return
        # Also when this is cancelled: nothing else refers to the clients.
        await finish(_close_clients(*clients))


async def _close_clients(consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
    for close in (consumer.stop, admin.close):
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await close()
        except Exception:
            log.debug("lag_client_not_closed", exc_info=True)


async def _lag(
    consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, watched: _Watched, ends: dict[TopicPartition, int]
) -> int:
    """The number of records before `ends` that the group has not committed. To be called after the ends were read."""
    now, own_ends = time.monotonic(), {partition: ends[partition] for partition in watched.partitions}
    if watched.handled_to == own_ends and now - watched.asked_at < OFFSETS_KNOWN_SECONDS:
        return 0
    offsets = await admin.list_consumer_group_offsets(watched.subscription.group_id, partitions=watched.partitions)
    committed = {partition: offset.offset for partition, offset in offsets.items() if offset.offset >= 0}
    never = [partition for partition in watched.partitions if partition not in committed and ends[partition] > 0]
    # Nothing was ever committed there: the count begins with the oldest record that Kafka still has.
    starts = await consumer.beginning_offsets(never) if never else {}
    handled = {partition: committed.get(partition, starts.get(partition, 0)) for partition in own_ends}
    lag: int = sum(max(0, end - handled[partition]) for partition, end in own_ends.items())
    watched.handled_to, watched.asked_at = own_ends if lag == 0 else {}, now
    return lag
