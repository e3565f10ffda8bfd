"""Reads and locks log-ins."""

from dataclasses import dataclass

from sqlalchemy import Text as TextType
from sqlalchemy import and_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import rows
from identity.logins.tables import LoginRow
from identity.tenants import TenantRow
from shared.ids import from_uuid, to_uuid


@dataclass(frozen=True, slots=True)
class FoundLogin:
    """Whose log-in an e-mail address is, and the hash of the password."""

    subject_id: str
    kind: str
    email_key: str
    password_hash: str | None


_FIND = select(
    col(TenantRow.tenant_id),
    col(LoginRow.subject_id),
    col(LoginRow.kind),
    col(LoginRow.email_key),
    col(LoginRow.password_hash),
).outerjoin(
    LoginRow,
    and_(
        col(LoginRow.tenant_id) == col(TenantRow.tenant_id),
        col(LoginRow.email_key) == bindparam("email_key", type_=TextType),
    ),
)
# Built once: a log-in would spend much of its time on that.
_FIND_BY_ID = _FIND.where(col(TenantRow.tenant_id) == bindparam("tenant"))
_FIND_BY_NAME = _FIND.where(col(TenantRow.name_key) == bindparam("tenant"))


async def find(session: AsyncSession, tenant: str, email: str) -> tuple[str | None, FoundLogin | None]:
    """The id of a tenant, given by id or by name, and the log-in of an e-mail address in it: each None when it is unknown."""
    statement, named = (_FIND_BY_ID, tenant) if _is_tenant_id(tenant) else (_FIND_BY_NAME, rows.unique_key(tenant))
    values = {"tenant": named, "email_key": rows.unique_key(email)}
    found = (await session.execute(statement, values)).one_or_none()
    if found is None:
        return None, None
    return found.tenant_id, FoundLogin(*found[1:]) if found.subject_id is not None else None


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
