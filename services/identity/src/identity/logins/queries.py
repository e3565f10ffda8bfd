"""Reads and locks log-ins."""

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import rows
from identity.logins.tables import LoginRow
from identity.tenants import TenantRow
from shared.ids import from_uuid, to_uuid


async def find(session: AsyncSession, tenant: str, email: str) -> tuple[str | None, LoginRow | None]:
    """The id of a tenant, given by id or by name, and the log-in of an e-mail address in it: each None when it is unknown."""
    is_addressed = and_(
        col(LoginRow.tenant_id) == col(TenantRow.tenant_id), col(LoginRow.email_key) == rows.unique_key(email)
    )
    statement = select(col(TenantRow.tenant_id), LoginRow).outerjoin(LoginRow, is_addressed).where(_is_named(tenant))
    found = (await session.execute(statement)).one_or_none()
    return (None, None) if found is None else (found[0], found[1])


async def get_by_subject(session: AsyncSession, subject_id: str, *, lock: bool = False) -> LoginRow:
    """The log-in of a user or merchant, which must exist; with `lock`, read again and locked."""
    statement = select(LoginRow).where(col(LoginRow.subject_id) == subject_id)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return (await session.execute(statement)).scalar_one()


async def get_by_invitation(session: AsyncSession, digest: bytes, *, lock: bool = False) -> LoginRow | None:
    """The log-in whose invitation token has this digest; None for an unknown or used token."""
    statement = select(LoginRow).where(col(LoginRow.invitation_digest) == digest)
    return (await session.execute(statement.with_for_update() if lock else statement)).scalar_one_or_none()


async def get_by_reset(session: AsyncSession, digest: bytes, *, lock: bool = False) -> LoginRow | None:
    """The log-in whose token for a new password has this digest; None for an unknown or used token."""
    statement = select(LoginRow).where(col(LoginRow.reset_digest) == digest)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return (await session.execute(statement)).scalar_one_or_none()


async def get_by_new_email(session: AsyncSession, digest: bytes, *, lock: bool = False) -> LoginRow | None:
    """The log-in whose token for a new address has this digest; None for an unknown or used token."""
    statement = select(LoginRow).where(col(LoginRow.new_email_digest) == digest)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return (await session.execute(statement)).scalar_one_or_none()


def _is_named(tenant: str) -> ColumnElement[bool]:
    if _is_tenant_id(tenant):
        return col(TenantRow.tenant_id) == tenant
    return col(TenantRow.name_key) == rows.unique_key(tenant)


def _is_tenant_id(value: str) -> bool:
    try:
        return value.startswith("ten_") and from_uuid("ten", to_uuid(value)) == value
    except ValueError:
        return False
