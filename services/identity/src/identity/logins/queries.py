"""Reads and locks log-ins."""

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import tenants
from identity.logins.tables import LoginRow
from identity.tenants import TenantRow
from shared.ids import from_uuid, to_uuid


async def get_by_email(session: AsyncSession, tenant: str, email: str) -> LoginRow | None:
    """The login of an e-mail address in a tenant, which is given by id or by name; None when either is unknown."""
    same_tenant = (
        col(TenantRow.tenant_id) == tenant
        if _is_tenant_id(tenant)
        else col(TenantRow.name_key) == tenants.unique_key(tenant)
    )
    statement = (
        select(LoginRow)
        .join(TenantRow, col(TenantRow.tenant_id) == col(LoginRow.tenant_id))
        .where(same_tenant, col(LoginRow.email_key) == tenants.unique_key(email))
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def get_by_subject(session: AsyncSession, subject_id: str, *, lock: bool = False) -> LoginRow:
    """A known person's login."""
    statement = select(LoginRow).where(col(LoginRow.subject_id) == subject_id)
    return (await session.execute(_lock(statement) if lock else statement)).scalar_one()


def _lock(statement: Select[LoginRow]) -> Select[LoginRow]:
    return statement.with_for_update().execution_options(populate_existing=True)


def _is_tenant_id(value: str) -> bool:
    try:
        return value.startswith("ten_") and from_uuid("ten", to_uuid(value)) == value
    except ValueError:
        return False
