"""Reads tenants."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from billing.tenants.tables import TenantRow
from shared.errors import Unavailable
from shared.postgres.column_types import TypedId


class Tenant(NamedTuple):
    """What subscriptions and invoices need of a tenant."""

    tenant_id: str
    name: str
    country: str
    region: str | None
    timezone: str


async def get(session: AsyncSession, tenant_id: str) -> Tenant:
    """The tenant. Raises `Unavailable` until its event has arrived."""
    found = await get_known(session, [tenant_id])
    if not found:
        raise not_known()
    return found[tenant_id]


async def get_known(session: AsyncSession, tenant_ids: Collection[str]) -> Mapping[str, Tenant]:
    """Those of these tenants that are known."""
    wanted = literal(list(tenant_ids), ARRAY(TypedId("ten")))
    columns = [col(getattr(TenantRow, name)) for name in Tenant._fields]
    rows = await session.execute(select(*columns).where(col(TenantRow.tenant_id) == any_(wanted)))
    return {row.tenant_id: Tenant(*row) for row in rows}


async def read(session: AsyncSession, tenant_id: str, *, lock: bool = False) -> TenantRow:
    """The row of the tenant. Raises `Unavailable` until its event has arrived."""
    statement = select(TenantRow).where(col(TenantRow.tenant_id) == tenant_id)
    row = (await session.execute(statement.with_for_update() if lock else statement)).scalar_one_or_none()
    if row is None:
        raise not_known()
    return row


async def names(session: AsyncSession, tenant_ids: Collection[str]) -> Mapping[str, str]:
    """The names of those of these tenants that are known."""
    statement = select(col(TenantRow.tenant_id), col(TenantRow.name)).where(col(TenantRow.tenant_id).in_(tenant_ids))
    return {row.tenant_id: row.name for row in await session.execute(statement)}


def not_known() -> Unavailable:
    """The event of the tenant has not arrived yet."""
    return Unavailable("this tenant is not known here yet", code="access_not_ready")
