"""Reads and locks log-ins."""

from dataclasses import dataclass

import asyncpg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import rows
from identity.logins.tables import LoginRow
from shared.ids import from_uuid, known_uuid, to_uuid


@dataclass(frozen=True, slots=True)
class FoundLogin:
    """Whose log-in an e-mail address is, and the hash of the password."""

    subject_id: str
    kind: str
    email_key: str
    password_hash: str | None


_FIND = """
    SELECT tenants.tenant_id, subject_id, kind, email_key, password_hash
    FROM tenants LEFT JOIN logins ON logins.tenant_id = tenants.tenant_id AND email_key = $2
"""
_FIND_BY_ID = _FIND + "WHERE tenants.tenant_id = $1"
_FIND_BY_NAME = _FIND + "WHERE name_key = $1"


async def find(driver: asyncpg.Connection, tenant: str, email: str) -> tuple[str | None, FoundLogin | None]:
    """The id of a tenant, given by id or by name, and the log-in of an e-mail address in it: each None when it is unknown."""
    email_key = rows.unique_key(email)
    found = (
        await driver.fetchrow(_FIND_BY_ID, known_uuid(tenant), email_key)
        if _is_tenant_id(tenant)
        else await driver.fetchrow(_FIND_BY_NAME, rows.unique_key(tenant), email_key)
    )
    if found is None:
        return None, None
    tenant_id, subject_id, kind, key, password_hash = found
    login = FoundLogin(subject_id, kind, key, password_hash) if subject_id is not None else None
    return from_uuid("ten", tenant_id), login


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


def _is_tenant_id(value: str) -> bool:
    try:
        return value.startswith("ten_") and from_uuid("ten", to_uuid(value)) == value
    except ValueError:
        return False
