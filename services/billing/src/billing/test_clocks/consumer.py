"""Consumes what the replicas of all services report to be in force."""

from collections import defaultdict

from sqlalchemy.ext.asyncio import AsyncSession

from billing import test_clocks
from shared.events import Event, Vocabulary
from shared.events.receipts import ReplicaReported

REPORTS = Vocabulary(ReplicaReported)


async def on_reports(session: AsyncSession, events: list[Event]) -> None:
    """Note which replicas go by the new time of which clocks."""
    applied: dict[str, list[str]] = defaultdict(list)
    for event in events:
        if isinstance(event, ReplicaReported):
            applied[event.subject] += [one.event_id for one in event.data.applied]
    for replica, event_ids in sorted(applied.items()):
        await test_clocks.acknowledge(session, replica, event_ids)
