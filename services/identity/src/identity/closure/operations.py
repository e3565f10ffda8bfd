"""Closes tenants, and deletes the personal data of closed ones.

Every service refuses all callers of a closed tenant by its status. What identity knows of people is deleted later, in steps: each is a
transaction of its own, and finds what is left, so that it can be cut off and repeated.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Select, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import logins, sessions, tenants, totp
from identity.audit import AuditRow
from identity.merchants import MerchantRow
from identity.tenants import Tenant
from identity.users import UserRow
from shared import audit, tasks
from shared.audit import Actor
from shared.postgres.database import Database
from shared.tasks import NewTask

PURGE = "tenant_purge"
PURGED_ROWS_MAX = 1_000
"""Rows of one table that one step changes."""
PURGED = "purged"
"""In place of a name that cannot be null."""


async def close(session: AsyncSession, actor: Actor, tenant_id: str, *, kept_days: int) -> Tenant:
    """Close a tenant for good: nobody of it is let in by any service any more. Repeating it changes nothing. Raises `NotFound`."""
    closed = await tenants.close(session, actor, tenant_id)
    now = datetime.now(UTC)
    await sessions.end_all_of_tenant(session, tenant_id, now)
    await tasks.add(session, [NewTask(PURGE, tenant_id, now + timedelta(days=kept_days))])
    return closed


async def purge_some(database: Database, tenant_id: str) -> bool:
    """Delete personal data of a closed tenant, `PURGED_ROWS_MAX` rows of each kind at most; returns whether all are deleted.

    What stays: ids, what a tenant needs to be recognised as closed, and of the audit trail what was done to the tenant itself.
    """
    async with database.transaction() as session:
        if await tenants.is_purged(session, tenant_id):
            return True
        purged = [
            await _purge_merchants(session, tenant_id),
            await _purge_users(session, tenant_id),
            await logins.delete_of_tenant(session, tenant_id, PURGED_ROWS_MAX),
            await sessions.delete_of_tenant(session, tenant_id, PURGED_ROWS_MAX),
            await totp.delete_of_tenant(session, tenant_id, PURGED_ROWS_MAX),
            await _purge_audit_events(session, tenant_id),
        ]
        done = not any(purged)
        if done:
            await tenants.purge(session, tenant_id)
            audit.record_service(session, "tenant.purged", tenant_id, tenant_id=tenant_id)
        return done


async def _purge_merchants(session: AsyncSession, tenant_id: str) -> int:
    of_tenant = select(col(MerchantRow.merchant_id)).where(
        col(MerchantRow.tenant_id) == tenant_id, col(MerchantRow.login_email) != ""
    )
    statement = update(MerchantRow).where(col(MerchantRow.merchant_id).in_(_some(of_tenant)))
    nothing: dict[str, object] = {
        "business_name": PURGED,
        "login_email": "",
        "contact_email": None,
        "phone": None,
        "address": None,
        "reference_id": None,
        "details": {},
        "email_refusal": None,
        "search_words": [],
        "sealed_key": None,
    }
    return len((await session.execute(statement.values(nothing).returning(col(MerchantRow.merchant_id)))).all())


async def _purge_users(session: AsyncSession, tenant_id: str) -> int:
    of_tenant = select(col(UserRow.user_id)).where(col(UserRow.tenant_id) == tenant_id, col(UserRow.email) != "")
    statement = update(UserRow).where(col(UserRow.user_id).in_(_some(of_tenant)))
    nothing: dict[str, object] = {
        "email": "",
        "first_name": PURGED,
        "last_name": "",
        "email_refusal": None,
        "search_words": [],
    }
    return len((await session.execute(statement.values(nothing).returning(col(UserRow.user_id)))).all())


async def _purge_audit_events(session: AsyncSession, tenant_id: str) -> int:
    of_tenant = select(col(AuditRow.audit_id)).where(
        col(AuditRow.tenant_id) == tenant_id, col(AuditRow.action).not_in(("tenant.closed", "tenant.purged"))
    )
    statement = delete(AuditRow).where(col(AuditRow.audit_id).in_(_some(of_tenant)))
    return len((await session.execute(statement.returning(col(AuditRow.audit_id)))).all())


def _some(ids: Select[str]) -> Select[str]:
    return ids.limit(PURGED_ROWS_MAX)
