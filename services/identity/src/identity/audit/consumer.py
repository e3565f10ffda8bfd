"""Consumes the audit events of all services."""

from sqlalchemy.ext.asyncio import AsyncSession

from identity import audit
from shared.events import Event, Vocabulary
from shared.events.audit import AuditRecorded
from shared.postgres.database import application_of

AUDIT_EVENTS = Vocabulary(AuditRecorded)


async def on_audit_events(session: AsyncSession, events: list[Event]) -> None:
    """Store audit events; those of identity itself are stored already."""
    own = application_of(session)
    recorded = [event.data for event in events if isinstance(event, AuditRecorded)]
    await audit.store(session, [state for state in recorded if state.service != own])
