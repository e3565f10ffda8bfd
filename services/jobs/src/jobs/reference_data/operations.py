"""Keeps settings of tenants up to date."""

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.reference_data.tables import TenantSettingsRow
from shared.events.identity import TenantEvent


async def apply_tenant_events(session: AsyncSession, events: Sequence[TenantEvent]) -> None:
    """Store the settings of these tenants, in any order and any number of times: only a newer version takes effect."""
    newest: dict[str, TenantEvent] = {}
    for event in events:
        known = newest.get(event.subject)
        if known is None or event.sequence >= known.sequence:
            newest[event.subject] = event
    # All writers take rows in one order, so that two batches cannot deadlock.
    rows = [
        {"tenant_id": tenant_id, "version": event.sequence, "job_review": event.data.job_review}
        for tenant_id, event in sorted(newest.items())
    ]
    if not rows:
        return
    statement = insert(TenantSettingsRow).values(rows)
    changes = {name: statement.excluded[name] for name in ("version", "job_review")}
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id"],
            set_=changes,
            where=statement.excluded.version > col(TenantSettingsRow.version),
        )
    )
