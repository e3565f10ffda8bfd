"""The tenant that a write happens in: its lock, and which rows a caller of either mode may see."""

from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity.audit import Author
from identity.domain import LimitReached
from identity.models.tenants import TenantRow
from shared.errors import Forbidden, NotFound

RowT = TypeVar("RowT")


async def locked(session: AsyncSession, author: Author) -> TenantRow:
    """The caller's tenant, locked: what is unique or counted in a tenant changes one write after the other.

    Raises `Forbidden` when a test key would change a real tenant.
    """
    statement = select(TenantRow).where(col(TenantRow.tenant_id) == author.tenant_id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("no tenant with this id", code="tenant_not_found")
    if not author.livemode and not row.test:
        raise Forbidden("a test key changes test tenants only", code="livemode_required")
    return row


def visible(statement: Select[RowT], author: Author, tenant_id: Any, livemode: Any) -> Select[RowT]:
    """The statement narrowed to the caller's tenant, given the columns that say so; a test key sees test rows alone."""
    statement = statement.where(col(tenant_id) == author.tenant_id)
    return statement if author.livemode else statement.where(col(livemode).is_(False))


async def require_room(session: AsyncSession, table: type[Any], *conditions: ColumnElement[bool], maximum: int) -> None:
    """Raises `LimitReached` when the (locked) tenant has as many rows of a kind as it may have."""
    count = await session.scalar(select(func.count()).select_from(table).where(*conditions))
    if count is not None and count >= maximum:
        raise LimitReached(f"a tenant has at most {maximum} of these", maximum=maximum)
