"""Consumes what the replicas of all services report to be in force."""

from collections import defaultdict

from sqlalchemy.ext.asyncio import AsyncSession

from billing import test_clocks
from shared.events import Event, Vocabulary
from shared.events.receipts import ReplicaReported

REPORTS = Vocabulary(ReplicaReported)


async def on_reports(session: AsyncSession, events: list[Event]) -> None:
    """Note which replicas run, and which of them go by the new time of which clocks."""
    reports = [event for event in events if isinstance(event, ReplicaReported)]
    latest = {event.subject: event for event in sorted(reports, key=lambda event: event.time)}
    heard = {replica: event.time for replica, event in latest.items() if not event.data.stopping}
    await test_clocks.note_replicas(session, heard, latest.keys() - heard.keys())
    applied: dict[str, list[str]] = defaultdict(list)
    for event in reports:
        applied[event.subject] += [one.event_id for one in event.data.applied]
    for replica, event_ids in sorted(applied.items()):
        await test_clocks.acknowledge(session, replica, event_ids)
