"""Consumes what the replicas of all services report."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from identity import revocations
from shared.events import Event, Vocabulary
from shared.events.receipts import ReplicaReported
from shared.observability.metrics import Metrics

REPORTS = Vocabulary(ReplicaReported)


def on_reports(metrics: Metrics) -> Callable[[AsyncSession, list[Event]], Awaitable[None]]:
    """Store which replicas run and which revocations they refuse by, and count how long each took."""
    seconds = metrics.histogram(
        "waybill_revocation_seconds", "Seconds from a revocation until a replica of the service refused.", ("service",)
    )

    async def handle(session: AsyncSession, events: list[Event]) -> None:
        reports = [event for event in events if isinstance(event, ReplicaReported)]
        for applied in await revocations.store_reports(session, reports):
            seconds.labels(applied.service).observe(applied.seconds)

    return handle
