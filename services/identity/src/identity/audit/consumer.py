"""Consumes the audit events of all services."""

from sqlalchemy.ext.asyncio import AsyncSession

from identity import audit
from shared.events import Event, Vocabulary
from shared.events.audit import AuditRecorded

AUDIT_EVENTS = Vocabulary(AuditRecorded)


async def on_audit_events(session: AsyncSession, events: list[Event]) -> None:
    """Store audit events; those of identity itself are stored already."""
    await audit.store(session, [event.data for event in events if isinstance(event, AuditRecorded)])
