"""The relay: sends events from the outbox to Kafka. Every replica may run one; they share the work by shard.

A shard whose next event Kafka refuses is blocked: it is retried alone, over connections of its own, so that it never delays the others. Its
events are never dropped.
"""

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass

import structlog
from sqlalchemy import text

from shared.chassis.cancellation import finish
from shared.chassis.parts import Wakeup, periodically
from shared.chassis.retry_delay import is_worth_logging, retry_delay_seconds
from shared.messaging.producer import Producer
from shared.messaging.security import NOT_SECURED, KafkaSecurity
from shared.messaging.shard_publisher import SHARDS, Refusal, ShardPublisher, Turn
from shared.observability.metrics import Metrics
from shared.postgres.database import Database

log = structlog.get_logger(__name__)

TURN_ROWS_MAX = 1000
TURN_BYTES_MAX = 16 * 1024 * 1024
POLL_SECONDS = 0.2
CONTENTION_SECONDS = 0.005
# A turn costs about the same for one event as for twenty. Where many arrive, turns begin further apart, so that each sends
# more: that halves the relay's work from about 1,500 events a second on, and delays no event below that rate.
SPACING_SECONDS = 0.0015
SPACING_SECONDS_PER_ROW = 0.0004
SPACING_SECONDS_MAX = 0.008
BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 2.0
CANCEL_GRACE_SECONDS = 2.0
REPORT_SECONDS = 5.0
REPORTED_ROWS_MAX = 10_000

_WAITING = text("SELECT count(*) FROM (SELECT FROM outbox LIMIT :rows_max) AS counted")
_OLDEST = text("SELECT coalesce(extract(epoch FROM now() - created_at), 0) FROM outbox ORDER BY id LIMIT 1")


@dataclass(slots=True)
class _BlockedShard:
    failures: int
    retry_at: float


class Relay:
    """Sends the events of one database to Kafka, to topics whose names begin with `prefix`, while `run` runs."""

    def __init__(
        self,
        database: Database,
        *,
        bootstrap_servers: str,
        security: KafkaSecurity = NOT_SECURED,
        metrics: Metrics,
        prefix: str = "",
        rows_max: int = TURN_ROWS_MAX,
        bytes_max: int = TURN_BYTES_MAX,
        poll_seconds: float = POLL_SECONDS,
    ):
        self._database = database
        self._metrics = metrics
        self._rows_max = rows_max
        self._poll_seconds = poll_seconds

        def publisher(name: str) -> ShardPublisher:
            client_id = f"{metrics.service}-{name}"
            producer = Producer(bootstrap_servers, client_id=client_id, security=security)
            return ShardPublisher(database, producer, metrics, bytes_max, prefix, name=client_id)

        self._publisher = publisher("relay")
        self._retrier = publisher("relay-retry")
        self._woken = Wakeup()
        self._woken_before = False
        """Whether something is known to wait; else a look is cheaper than a turn."""
        self._blocked: dict[int, _BlockedShard] = {}
        self._shard_blocked = Wakeup()

    def wake(self) -> None:
        """Look for events now instead of at the next poll. Called after a commit that stored some."""
        self._woken.set()

    async def run(self) -> None:
        """Relay until cancelled; a turn under way then has `CANCEL_GRACE_SECONDS` to end."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._relay())
            parts.create_task(self._retry_blocked())
            # Metrics only: whatever is wrong with the database, the relay itself reports.
            parts.create_task(periodically(self._report, REPORT_SECONDS, failure_event="outbox_metrics_not_read")())

    async def _relay(self) -> None:
        failures = contentions = 0
        more = False
        try:
            while True:
                began = time.monotonic()
                self._woken_before = self._woken.is_set or more
                self._woken.clear()
                try:
                    turn = await finish(self._turn(), grace_seconds=CANCEL_GRACE_SECONDS)
                except Exception:
                    failures += 1
                    self._metrics.outbox_errors.inc()
                    if is_worth_logging(failures):
                        log.warning("relay_turn_failed", failures=failures, exc_info=True)
                    await asyncio.sleep(
                        retry_delay_seconds(failures, first=BACKOFF_SECONDS, longest=BACKOFF_SECONDS_MAX)
                    )
                    continue
                failures, more = 0, turn.more
                contentions = contentions + 1 if turn.contended and not turn.sent else 0
                if turn.more:
                    continue
                await asyncio.sleep(max(0.0, began + _spacing(turn.sent) - time.monotonic()))
                await self._pause(contentions if turn.contended else None)
        finally:
            if failures == 0 and self._woken.is_set:
                await self._last_turn()
            await self._publisher.close()

    async def _turn(self) -> Turn:
        if not self._woken_before and await self._publisher.is_idle():
            return Turn()
        healthy = [shard for shard in range(SHARDS) if shard not in self._blocked]
        turn = await self._publisher.turn(healthy, self._rows_max)
        for shard, refusal in turn.refused.items():
            self._block(shard, refusal)
        return turn

    async def _last_turn(self) -> None:
        """Send what was committed just before the end. If that fails, the next relay sends it."""
        with suppress(Exception):
            async with asyncio.timeout(CANCEL_GRACE_SECONDS):
                self._woken_before = True
                await self._turn()

    async def _pause(self, contentions: int | None) -> None:
        """Wait until woken or until the next poll; after contention only a little, because nothing wakes the relay when it ends."""
        if contentions is not None:
            longest = self._poll_seconds
            await asyncio.sleep(retry_delay_seconds(contentions + 1, first=CONTENTION_SECONDS, longest=longest))
            return
        await self._woken.wait(self._poll_seconds * random.uniform(0.8, 1.2))  # noqa: S311

    # -- blocked shards ------------------------------------------------------------------------------------------------

    def _block(self, shard: int, refusal: Refusal) -> None:
        self._postpone(shard)
        self._shard_blocked.set()
        self._metrics.outbox_errors.inc()
        failures = self._blocked[shard].failures
        if is_worth_logging(failures):
            log.error(
                "outbox_shard_blocked",
                shard=shard,
                outbox_id=refusal.outbox_id,
                topic=refusal.topic,
                key=refusal.key,
                failures=failures,
                error=repr(refusal.error),
            )

    def _postpone(self, shard: int) -> None:
        failures = self._blocked[shard].failures + 1 if shard in self._blocked else 1
        self._blocked[shard] = _BlockedShard(
            failures,
            time.monotonic() + retry_delay_seconds(failures, first=BACKOFF_SECONDS, longest=BACKOFF_SECONDS_MAX),
        )
        self._metrics.outbox_blocked_shards.set(len(self._blocked))

    async def _retry_blocked(self) -> None:
        """Retry blocked shards, each alone and over connections of their own, until Kafka takes their events again."""
        try:
            while True:
                self._shard_blocked.clear()
                if not self._blocked:
                    await self._retrier.close()
                    await self._shard_blocked.wait()
                shard = min(self._blocked, key=lambda blocked: self._blocked[blocked].retry_at)
                await asyncio.sleep(max(0.0, self._blocked[shard].retry_at - time.monotonic()))
                # Records of one batch fail together. Sent one by one, those before the refused one are acknowledged.
                rows_max = self._rows_max if self._blocked[shard].failures == 1 else 1
                await self._retry_shard(shard, rows_max)
        finally:
            await self._retrier.close()

    async def _retry_shard(self, shard: int, rows_max: int) -> None:
        try:
            turn = await finish(self._retrier.turn([shard], rows_max), grace_seconds=CANCEL_GRACE_SECONDS)
        except Exception:
            self._metrics.outbox_errors.inc()
            if is_worth_logging(self._blocked[shard].failures):
                log.warning("blocked_shards_not_retried", shards=sorted(self._blocked), exc_info=True)
            for blocked in self._blocked:
                self._postpone(blocked)
            return
        if turn.refused:
            self._block(shard, turn.refused[shard])
        elif not turn.more:
            del self._blocked[shard]
            self._metrics.outbox_blocked_shards.set(len(self._blocked))
            log.info("outbox_shard_unblocked", shard=shard)
            self._woken.set()

    # -- metrics -------------------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        async with asyncio.timeout(REPORT_SECONDS), self._database.reading() as session:
            waiting = (await session.execute(_WAITING, {"rows_max": REPORTED_ROWS_MAX})).scalar_one()
            oldest = (await session.execute(_OLDEST)).scalar()
        self._metrics.outbox_waiting.set(waiting)
        self._metrics.outbox_oldest_seconds.set(float(oldest or 0))


def _spacing(sent: int) -> float:
    """Seconds from the start of a turn that sent so many events to the start of the next."""
    return min(SPACING_SECONDS_MAX, SPACING_SECONDS + SPACING_SECONDS_PER_ROW * sent) if sent else 0.0
