"""Reads and locks tenants, and narrows statements to the rows that an actor may see."""

from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.actors import Actor
from identity.tenants import rules
from identity.tenants.rules import LimitReached
from identity.tenants.schemas import Tenant
from identity.tenants.tables import TenantRow
from shared.api import Page, Paging, page
from shared.errors import Forbidden, NotFound
from shared.postgres.advisory_locks import AdvisoryLock, lock

RowT = TypeVar("RowT")


async def lock_own(session: AsyncSession, actor: Actor) -> TenantRow:
    """The caller's tenant, locked: what is unique or counted in a tenant changes one write after the other.

    Raises `Forbidden` when a test key would change a real tenant.
    """
    statement = select(TenantRow).where(col(TenantRow.tenant_id) == actor.tenant_id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no tenant with this id", code="tenant_not_found")
    if not actor.livemode and not row.test:
        raise Forbidden("a test key changes test tenants only", code="livemode_required")
    return row


def visible_to(statement: Select[RowT], actor: Actor, tenant_id: Any, livemode: Any) -> Select[RowT]:
    """The statement narrowed to the caller's tenant, given the columns that say so; a test key sees test rows alone."""
    statement = statement.where(col(tenant_id) == actor.tenant_id)
    return statement if actor.livemode else statement.where(col(livemode).is_(False))


async def require_room(session: AsyncSession, table: type[Any], *conditions: ColumnElement[bool], maximum: int) -> None:
    """Raises `LimitReached` when the (locked) tenant has as many rows of a kind as it may have."""
    count = await session.scalar(select(func.count()).select_from(table).where(*conditions))
    if count is not None and count >= maximum:
        raise LimitReached(f"a tenant has at most {maximum} of these", maximum=maximum)


async def list_tenants(session: AsyncSession, actor: Actor, paging: Paging, *, status: str | None) -> Page[Tenant]:
    """All tenants of the caller's mode, newest first."""
    statement = _rows(actor)
    if status is not None:
        statement = statement.where(col(TenantRow.status) == status)
    order = (col(TenantRow.created_at), col(TenantRow.tenant_id))
    return await page(session, statement, paging, by=order, view=view, filters=[status, actor.livemode])


async def get(session: AsyncSession, actor: Actor, tenant_id: str) -> Tenant:
    """One tenant. Raises `NotFound`."""
    return view(
        _found((await session.execute(_rows(actor).where(col(TenantRow.tenant_id) == tenant_id))).scalar_one_or_none())
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


def _rows(actor: Actor) -> Select[TenantRow]:
    statement = select(TenantRow)
    return statement if actor.livemode else statement.where(col(TenantRow.test))


async def lock_for_update(session: AsyncSession, actor: Actor, tenant_id: str) -> TenantRow:
    statement = _rows(actor).where(col(TenantRow.tenant_id) == tenant_id).with_for_update(key_share=True)
    return _found((await session.execute(statement)).scalar_one_or_none())


async def require_free_name(session: AsyncSession, name: str, own_id: str | None) -> None:
    await lock(session, AdvisoryLock.IDENTITY_TENANT_NAMES)
    taken = await session.scalar(
        select(col(TenantRow.tenant_id)).where(col(TenantRow.name_key) == rules.unique_key(name))
    )
    if taken is not None and taken != own_id:
        raise rules.AlreadyExists("a tenant of this name exists", code="name_taken", existing_id=taken)


def _found(row: TenantRow | None) -> TenantRow:
    if row is None:
        raise NotFound("no tenant with this id", code="tenant_not_found")
    return row
