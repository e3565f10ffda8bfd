"""Reports to identity that this process runs, and which revocations it refuses by (docs/decisions/0022).

A revocation is in force in a process when the process has forgotten what it knew before: that is reported, not that a row was written. A
report costs a request nothing and is best effort: it goes straight to Kafka, and one that is lost is shown as missing in a receipt.
"""

import asyncio
import secrets
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice

import structlog
from aiokafka.errors import KafkaError

from shared.chassis.parts import Wakeup, periodically
from shared.chassis.retry_delay import is_worth_logging
from shared.events.receipts import AppliedRevocation, ReplicaReport, ReplicaReported
from shared.messaging.producer import NotAcknowledged, Producer, Record

REPORT_SECONDS = 10.0
"""A replica is heard of at least so often."""
RETRY_SECONDS = 2.0
WAITING_MAX = 5_000
"""Applied revocations that wait for Kafka; beyond, the oldest are forgotten."""
APPLIED_PER_REPORT_MAX = 500
FAREWELL_SECONDS = 1.0

log = structlog.get_logger(__name__)


def replica_name(instance: str | None) -> str:
    """The name of this replica: its own, or one that lasts as long as the process."""
    return instance or f"{socket.gethostname()}-{secrets.token_hex(4)}"


class ReceiptReporter:
    """The reports of one process."""

    def __init__(self, producer: Producer, *, topic: str, service: str, replica: str):
        self._producer = producer
        self._topic = topic
        self._service = service
        self._replica = replica
        self._started_at = datetime.now(UTC)
        self._waiting: deque[AppliedRevocation] = deque(maxlen=WAITING_MAX)
        self._reported_at = float("-inf")
        self._failures = 0
        self._wakeup = Wakeup()

    def note(self, applied: Sequence[tuple[str, str]]) -> None:
        """From now on this process refuses what these (revocation, event) have ended."""
        now = datetime.now(UTC)
        self._waiting.extend(
            AppliedRevocation(revocation_id=revocation_id, event_id=event_id, applied_at=now)
            for revocation_id, event_id in applied
        )
        self._wakeup.set()

    async def run(self) -> None:
        """Report until cancelled, then say that this was the last report."""
        try:
            await periodically(self._report_due, REPORT_SECONDS, wakeup=self._wakeup)()
        except asyncio.CancelledError:
            # A stop must neither fail nor wait for this: without Kafka nothing is said.
            if self._failures == 0:
                with suppress(Exception):
                    async with asyncio.timeout(FAREWELL_SECONDS):
                        await self._report(stopping=True)
            raise
        finally:
            await self._producer.close()

    async def _report_due(self) -> float:
        if self._waiting or time.monotonic() - self._reported_at >= REPORT_SECONDS:
            try:
                await self._report()
                self._failures = 0
            except (KafkaError, TimeoutError, NotAcknowledged) as error:
                # What waits is reported next time.
                self._failures += 1
                if is_worth_logging(self._failures):
                    log.warning("receipts_not_reported", failures=self._failures, error=repr(error))
                return RETRY_SECONDS
        return max(0.0, self._reported_at + REPORT_SECONDS - time.monotonic())

    async def _report(self, *, stopping: bool = False) -> None:
        while True:
            applied = list(islice(self._waiting, APPLIED_PER_REPORT_MAX))
            (failure,) = await self._producer.send([self._record(applied, stopping)])
            if failure is not None:
                raise failure
            self._reported_at = time.monotonic()
            for _ in applied:
                self._waiting.popleft()
            if not self._waiting:
                return

    def _record(self, applied: list[AppliedRevocation], stopping: bool) -> Record:
        report = ReplicaReport(
            service=self._service,
            replica=self._replica,
            started_at=self._started_at,
            stopping=stopping,
            applied=applied,
        )
        subject = f"{self._service}/{self._replica}"
        event = ReplicaReported(tenant_id=None, subject=subject, sequence=0, data=report)
        return Record(self._topic, event.subject.encode(), event.value(), event.headers())
