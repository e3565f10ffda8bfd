"""The consumers of a process: started again after a failure, stopped within a bound."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog

from shared.chassis.cancellation import finish
from shared.chassis.retry_delay import retry_delay_seconds
from shared.messaging.faststream_adapter import DRAIN_SECONDS, PrefetchingBroker
from shared.messaging.subscriber import BACKOFF_SECONDS, BACKOFF_SECONDS_MAX, Subscription

log = structlog.get_logger(__name__)

START_SECONDS = 60.0
STOP_SECONDS = 8.0
WATCH_SECONDS = 1.0


class Consumers:
    """All consumers of a process. They start, and start again, together."""

    def __init__(self, broker: PrefetchingBroker, subscriptions: Sequence[Subscription[Any]]):
        ours = {subscription.group_id for subscription in subscriptions}
        if broker.has_others or broker.added_group_ids != ours:
            raise TypeError("the broker has subscribers that were not made by subscribe(): they may lose records")
        self._broker = broker
        self._subscriptions = list(subscriptions)
        self.ready = False
        """All consumers have joined their groups."""

    async def run(self) -> None:
        """Consume until cancelled; batches under way then have `DRAIN_SECONDS` to end."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(START_SECONDS):
                    await self._broker.start()
                self.ready = True
                failures = 0
                await self._until_one_ends()
                log.error("consumer_ended")
            except Exception:
                failures += 1
                log.warning("consumers_not_started", failures=failures, exc_info=True)
            finally:
                self.ready = False
                await finish(self._stop())
            pause = retry_delay_seconds(max(1, failures), first=BACKOFF_SECONDS, longest=BACKOFF_SECONDS_MAX)
            await asyncio.sleep(pause)

    async def _until_one_ends(self) -> None:
        while self._broker.is_consuming:  # noqa: ASYNC110 - FastStream has no event for its end
            await asyncio.sleep(WATCH_SECONDS)

    async def _stop(self) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._broker.finish(DRAIN_SECONDS / 2)
                await self._broker.stop()
        except Exception:
            # The session of the group ends by itself then; the next owner of the partitions reads again what was not committed.
            log.warning("consumers_not_stopped", exc_info=True)
        for subscription in self._subscriptions:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await subscription.close()
