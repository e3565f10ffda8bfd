"""The list of user API keys."""

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import tenants
from identity.actors import Actor
from identity.api_keys.schemas import ApiKey
from identity.api_keys.tables import ApiKeyRow
from shared.api import Page, Paging, page


async def list_api_keys(session: AsyncSession, actor: Actor, paging: Paging) -> Page[ApiKey]:
    """The tenant's user keys, newest first, revoked ones included."""
    order = (col(ApiKeyRow.created_at), col(ApiKeyRow.key_id))
    return await page(session, visible_rows(actor), paging, by=order, view=view)


def visible_rows(actor: Actor) -> Select[ApiKeyRow]:
    statement = select(ApiKeyRow).where(col(ApiKeyRow.kind) == "user_key")
    return tenants.visible_to(statement, actor, ApiKeyRow.tenant_id, ApiKeyRow.livemode)


def view(row: ApiKeyRow) -> ApiKey:
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
