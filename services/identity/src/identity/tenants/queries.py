"""Reads and locks tenants."""

from datetime import datetime
from typing import cast

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import request_log, rows
from identity.tenants.rules import NOTICES, MailSettings, RevealMode, SecondFactor, SessionPolicy
from identity.tenants.schemas import BusiestTenants, Tenant, TenantRequests
from identity.tenants.tables import TenantRow
from shared.api import ANY_VERSION, IfMatch, Page, Paging, page, where_equal
from shared.audit import Actor
from shared.errors import NotFound
from shared.postgres.advisory_locks import AdvisoryLock, lock


async def list_tenants(session: AsyncSession, actor: Actor, paging: Paging, *, status: str | None) -> Page[Tenant]:
    """The tenants that the actor's key may see, newest first: all, or the test tenants only."""
    statement = where_equal(_visible_rows(actor), {col(TenantRow.status): status})
    order = (col(TenantRow.created_at), col(TenantRow.tenant_id))
    return await page(session, statement, paging, by=order, view=view, filters=[status, actor.livemode])


async def get(session: AsyncSession, actor: Actor, tenant_id: str) -> Tenant:
    """One tenant. Raises `NotFound`."""
    return view(await rows.get_one(session, _by_id(_visible_rows(actor), tenant_id), _not_found()))


async def list_busiest(session: AsyncSession, actor: Actor, now: datetime, *, hours: int, limit: int) -> BusiestTenants:
    """The tenants with most requests in the last hours that the actor's key may see."""
    counted = await request_log.most_calls(session, now, livemode=actor.livemode, hours=hours, limit=limit)
    of_these = _visible_rows(actor).where(col(TenantRow.tenant_id).in_([tenant_id for tenant_id, _, _ in counted]))
    names = {row.tenant_id: row.name for row in (await session.execute(of_these)).scalars()}
    return BusiestTenants(
        data=[
            TenantRequests(tenant_id=tenant_id, name=names[tenant_id], calls=calls, errors=errors)
            for tenant_id, calls, errors in counted
            if tenant_id in names
        ]
    )


async def lock_for_update(
    session: AsyncSession, actor: Actor, tenant_id: str, if_match: IfMatch = ANY_VERSION
) -> TenantRow:
    """One tenant's row, locked. Raises `NotFound`, `PreconditionFailed`."""
    statement = _by_id(_visible_rows(actor), tenant_id).with_for_update(key_share=True)
    row = await rows.get_one(session, statement, _not_found())
    if_match.check(row.version)
    return row


async def lock_own(session: AsyncSession, actor: Actor, if_match: IfMatch = ANY_VERSION) -> TenantRow:
    """The row of the actor's tenant, locked, so that unique values and numbers of rows in a tenant change one at a time.

    Raises `PreconditionFailed`.
    """
    statement = _by_id(select(TenantRow), actor.tenant_id).with_for_update(key_share=True)
    row = await rows.get_one(session, statement, _not_found())
    if_match.check(row.version)
    return row


async def lock_by_id(session: AsyncSession, tenant_id: str) -> TenantRow:
    """The row of a tenant, which must exist, locked: for what the service does by itself."""
    statement = _by_id(select(TenantRow), tenant_id).with_for_update(key_share=True)
    return (await session.execute(statement)).scalar_one()


async def is_purged(session: AsyncSession, tenant_id: str) -> bool:
    """Whether the personal data of a closed tenant are deleted, or there is no such closed tenant."""
    waiting = select(col(TenantRow.tenant_id)).where(
        col(TenantRow.tenant_id) == tenant_id, col(TenantRow.status) == "closed", col(TenantRow.purged_at).is_(None)
    )
    return await session.scalar(waiting) is None


async def get_own(session: AsyncSession, actor: Actor) -> TenantRow:
    """The row of the actor's tenant."""
    return await rows.get_one(session, _by_id(select(TenantRow), actor.tenant_id), _not_found())


async def lock_reveal_mode(session: AsyncSession, tenant_id: str) -> RevealMode:
    """How merchants of the tenant get their keys. It stays so until the commit: lock a merchant after this, not before."""
    found: RevealMode = (await session.execute(_reveal_mode(tenant_id).with_for_update(read=True))).scalar_one()
    return found


async def get_reveal_mode(session: AsyncSession, tenant_id: str) -> RevealMode:
    """How merchants of the tenant get their keys."""
    found: RevealMode = (await session.execute(_reveal_mode(tenant_id))).scalar_one()
    return found


async def get_session_policy(session: AsyncSession, tenant_id: str) -> SessionPolicy:
    """What decides about the sessions of a tenant, which must exist."""
    row = (await session.execute(_by_id(select(TenantRow), tenant_id))).scalar_one()
    return SessionPolicy(
        status=row.status,
        token_seconds=row.session_token_seconds,
        session_days=row.session_days,
        second_factor=cast(SecondFactor, row.second_factor),
        notices_off=frozenset(row.notices_off),
    )


async def require_free_name(session: AsyncSession, actor: Actor, name: str, own_id: str | None) -> None:
    """Raises `AlreadyExists` when another tenant has this name, in any case; only the platform hears which.

    Names change one at a time until the commit.
    """
    await lock(session, AdvisoryLock.IDENTITY_TENANT_NAMES)
    holder = select(col(TenantRow.tenant_id)).where(col(TenantRow.name_key) == rows.unique_key(name))
    by_platform = actor.caller.kind == "platform"
    await rows.require_free(
        session, holder, own_id, message="a tenant of this name exists", code="name_taken", tell_id=by_platform
    )


def view(row: TenantRow) -> Tenant:
    """A tenant as the API shows it."""
    return Tenant(
        id=row.tenant_id,
        name=row.name,
        country=row.country,
        timezone=row.timezone,
        currency=row.currency,
        status=row.status,
        test=row.test,
        livemode=not row.test,
        job_review=row.job_review,
        owner_id=row.owner_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _visible_rows(actor: Actor) -> Select[TenantRow]:
    statement = select(TenantRow)
    return statement if actor.livemode else statement.where(col(TenantRow.test))


def _reveal_mode(tenant_id: str) -> Select[RevealMode]:
    return select(col(TenantRow.reveal)).where(col(TenantRow.tenant_id) == tenant_id)


def _by_id(statement: Select[TenantRow], tenant_id: str) -> Select[TenantRow]:
    return statement.where(col(TenantRow.tenant_id) == tenant_id)


def _not_found() -> NotFound:
    return NotFound("no tenant with this id", code="tenant_not_found")


async def get_mail_settings(session: AsyncSession, tenant_id: str) -> MailSettings:
    """What mails need of a tenant, which must exist."""
    row = (await session.execute(select(TenantRow).where(col(TenantRow.tenant_id) == tenant_id))).scalar_one()
    return MailSettings(row.name, row.timezone, frozenset(row.notices_off if row.status == "active" else NOTICES))
