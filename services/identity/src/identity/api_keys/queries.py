"""Reads and locks user API keys."""

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import rows
from identity.api_keys.schemas import ApiKey
from identity.api_keys.tables import ApiKeyRow
from shared.api import Page, Paging, page
from shared.audit import Actor
from shared.errors import NotFound


async def list_api_keys(session: AsyncSession, actor: Actor, paging: Paging) -> Page[ApiKey]:
    """The tenant's user API keys, newest first, with the revoked ones."""
    order = (col(ApiKeyRow.created_at), col(ApiKeyRow.key_id))
    return await page(session, _visible_rows(actor), paging, by=order, view=view)


async def lock_for_update(session: AsyncSession, actor: Actor, key_id: str) -> ApiKeyRow:
    """One user API key's row, locked. Raises `NotFound`."""
    statement = _visible_rows(actor).where(col(ApiKeyRow.key_id) == key_id).with_for_update(key_share=True)
    return await rows.get_one(session, statement, NotFound("no API key with this id", code="api_key_not_found"))


async def lock_children(session: AsyncSession, key_ids: Sequence[str]) -> Sequence[ApiKeyRow]:
    """The rows of the keys that these keys made, locked."""
    statement = select(ApiKeyRow).where(col(ApiKeyRow.parent_id).in_(key_ids)).order_by(col(ApiKeyRow.key_id))
    return (await session.execute(statement.with_for_update(key_share=True))).scalars().all()


def view(row: ApiKeyRow) -> ApiKey:
    """A user API key as the API shows it."""
    assert row.tenant_id is not None
    assert row.user_id is not None
    return ApiKey(
        id=row.key_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        name=row.name,
        scopes=row.scopes,
        hint=row.hint,
        status="active" if row.revoked_at is None else "revoked",
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        livemode=row.livemode,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _visible_rows(actor: Actor) -> Select[ApiKeyRow]:
    statement = select(ApiKeyRow).where(col(ApiKeyRow.kind) == "user_key")
    return rows.visible_to(statement, actor, ApiKeyRow.tenant_id, ApiKeyRow.livemode)
