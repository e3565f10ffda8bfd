"""What the queries of all nouns share: visible rows, one row or 404, values that must be free, and limits per tenant."""

from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from shared.audit import Actor
from shared.errors import Conflict, NotFound
from shared.fields.text import without_format_characters

RowT = TypeVar("RowT")


class AlreadyExists(Conflict):
    """A value that must be unique is in use. The problem names the record that has it."""

    code = "already_exists"


class LimitReached(Conflict):
    """The tenant has as many records of a kind as it may have."""

    code = "limit_reached"


def unique_key(value: str) -> str:
    """The form in which names and e-mail addresses are compared: invisible marks make no difference."""
    return without_format_characters(value).strip().casefold()


def visible_to(statement: Select[RowT], actor: Actor, tenant_id: Any, livemode: Any) -> Select[RowT]:
    """The statement, restricted to rows of the actor's tenant, given their two columns; a test key sees test rows only."""
    statement = statement.where(col(tenant_id) == actor.tenant_id)
    return statement if actor.livemode else statement.where(col(livemode).is_(False))


async def get_one(session: AsyncSession, statement: Select[RowT], missing: NotFound) -> RowT:
    """The row that the statement selects. Raises `missing` when there is none."""
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise missing
    return row


async def require_free(
    session: AsyncSession, holder: Select[str], own_id: str | None, *, message: str, code: str, tell_id: bool = True
) -> None:
    """Raises `AlreadyExists` when `holder` selects the id of another record than `own_id`; with `tell_id` it names that record.

    A lock that the caller holds, or a unique index, must prevent concurrent writes of the same value.
    """
    holder_id = await session.scalar(holder)
    if holder_id is not None and holder_id != own_id:
        raise AlreadyExists(message, code=code, existing_id=holder_id) if tell_id else AlreadyExists(message, code=code)


async def require_room(session: AsyncSession, table: type[Any], *conditions: ColumnElement[bool], maximum: int) -> None:
    """Raises `LimitReached` when the tenant, which the caller has locked, has `maximum` rows that meet the conditions."""
    count = await session.scalar(select(func.count()).select_from(table).where(*conditions))
    if count is not None and count >= maximum:
        raise LimitReached(f"a tenant has at most {maximum} of these", maximum=maximum)
