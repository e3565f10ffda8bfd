"""Projects tenants."""

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.tenants.tables import TenantRow
from shared.events.identity import TenantCreated, TenantUpdated


async def project(session: AsyncSession, events: Sequence[TenantCreated | TenantUpdated]) -> None:
    """Store what these events say, in any order and any number of times."""
    newest: dict[str, TenantCreated | TenantUpdated] = {}
    for event in events:
        known = newest.get(event.data.tenant_id)
        if known is None or event.sequence >= known.sequence:
            newest[event.data.tenant_id] = event
    if not newest:
        return
    rows = [
        {
            "tenant_id": tenant_id,
            "version": event.sequence,
            "name": event.data.name,
            "country": event.data.country,
            "timezone": event.data.timezone,
            "currency": event.data.currency,
        }
        for tenant_id, event in sorted(newest.items())
    ]
    statement = insert(TenantRow).values(rows)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id"],
            set_={name: statement.excluded[name] for name in rows[0] if name != "tenant_id"},
            where=statement.excluded.version > col(TenantRow.version),
        )
    )
