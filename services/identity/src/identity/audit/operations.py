"""Stores audit events, each once."""

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from identity.audit.tables import AuditRow
from shared.events.audit import AuditRecorded, AuditState
from shared.messaging import outbox


async def store(session: AsyncSession, recorded: Sequence[AuditState]) -> None:
    """Store these audit events. One that is stored already stays as it is."""
    if recorded:
        # All writers take rows in one order, so that two batches cannot deadlock.
        rows = [_row(state) for state in sorted(recorded, key=lambda state: state.audit_id)]
        await session.execute(insert(AuditRow).on_conflict_do_nothing(), rows)


async def store_own_events(session: AsyncSession) -> None:
    """Hook before a commit: store the audit events that identity publishes itself, in the same transaction."""
    await store(session, [event.data for event in outbox.pending(session) if isinstance(event, AuditRecorded)])


def _row(state: AuditState) -> dict[str, object]:
    values = state.model_dump()
    return {**values, "created_at": values.pop("at")}
