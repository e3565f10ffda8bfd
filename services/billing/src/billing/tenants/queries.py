"""Reads tenants."""

from collections.abc import Collection, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.tenants.tables import TenantRow
from shared.errors import Unavailable


async def get(session: AsyncSession, tenant_id: str) -> TenantRow:
    """The tenant. Raises `Unavailable` until its event has arrived."""
    return (await get_many(session, [tenant_id]))[tenant_id]


async def get_many(session: AsyncSession, tenant_ids: Collection[str]) -> Mapping[str, TenantRow]:
    """These tenants. Raises `Unavailable` until the events of all have arrived."""
    statement = select(TenantRow).where(col(TenantRow.tenant_id).in_(tenant_ids))
    found = {row.tenant_id: row for row in (await session.execute(statement)).scalars()}
    if not found.keys() >= set(tenant_ids):
        raise _unknown()
    return found


async def lock(session: AsyncSession, tenant_id: str) -> TenantRow:
    """The row of the tenant, locked. Raises `Unavailable` until its event has arrived."""
    statement = select(TenantRow).where(col(TenantRow.tenant_id) == tenant_id).with_for_update()
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise _unknown()
    return row


async def zones(session: AsyncSession, tenant_ids: Collection[str]) -> Mapping[str, str]:
    """The time zones of those of these tenants that are known."""
    statement = select(col(TenantRow.tenant_id), col(TenantRow.timezone)).where(
        col(TenantRow.tenant_id).in_(tenant_ids)
    )
    return {row.tenant_id: row.timezone for row in await session.execute(statement)}


def _unknown() -> Unavailable:
    return Unavailable("this tenant is not known here yet", code="access_not_ready")
