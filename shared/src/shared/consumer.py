"""aiokafka's consumer for batches that should not wait, as FastStream uses it.

FastStream sleeps after each empty poll, and a record that arrives meanwhile waits: here a poll only returns with records.
FastStream waits for each commit of offsets before it polls again: here commits go on beside the work, several batches at
once. What is committed was handled before, as ever; a crash in between has at most `COMMIT_SECONDS` of work done again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.dead_letters import KafkaRecord

COMMIT_SECONDS = 0.05
LAST_COMMIT_SECONDS = 2.0

log = structlog.get_logger(__name__)


class PromptConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka publishes no types
    """A consumer whose `commit` says "all that was delivered is handled" and returns at once."""

    def __init__(self, *topics: str, **options: Any):
        super().__init__(*topics, **options)
        self._delivered: dict[TopicPartition, int] = {}
        self._handled: dict[TopicPartition, int] = {}
        self._committing: asyncio.Task[None] | None = None

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[KafkaRecord]]:
        """The next records, whenever they come. Raises `ConsumerStoppedError` after `stop`."""
        found: Mapping[TopicPartition, Sequence[KafkaRecord]] = {}
        while not found:
            found = await super().getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        self._delivered = {partition: records[-1].offset + 1 for partition, records in found.items()}
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        self._handled.update(self._delivered if offsets is None else offsets)
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_handled())

    async def stop(self) -> None:
        """Commit what was handled (for `LAST_COMMIT_SECONDS` at most), then leave the group."""
        if self._committing is not None:
            await asyncio.wait([self._committing], timeout=LAST_COMMIT_SECONDS)
            self._committing.cancel()
        await super().stop()

    async def _commit_handled(self) -> None:
        while self._handled:
            offsets, self._handled = self._handled, {}
            mine = {partition: offset for partition, offset in offsets.items() if partition in self.assignment()}
            try:
                if mine:
                    await super().commit(mine)
            except KafkaError as error:
                # Another consumer has the partitions by now, and reads again what was handled here last.
                log.warning("offsets not committed", error=repr(error), partitions=len(mine))
            await asyncio.sleep(COMMIT_SECONDS)
