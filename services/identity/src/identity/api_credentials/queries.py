"""Reads API accounts and a merchant's API settings, and locks a merchant that has API access."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import merchants, rows, tenants
from identity.api_credentials import rules
from identity.api_credentials.schemas import ApiAccount, ApiSettings, OwnLocation
from identity.locations import LocationRow
from identity.merchants import MerchantRow
from shared.api import Page, Paging, page
from shared.audit import Actor


async def list_api_accounts(session: AsyncSession, actor: Actor, paging: Paging) -> Page[ApiAccount]:
    """The merchants that have API access, newest first, with their API Account IDs; never a key."""
    statement = rows.visible_to(select(MerchantRow), actor, MerchantRow.tenant_id, MerchantRow.livemode)
    order = (col(MerchantRow.created_at), col(MerchantRow.merchant_id))
    return await page(session, statement.where(col(MerchantRow.api_access)), paging, by=order, view=_account)


async def get_settings(session: AsyncSession, actor: Actor) -> ApiSettings:
    """The API settings of the merchant that calls."""
    row = (await session.execute(select(MerchantRow).where(col(MerchantRow.merchant_id) == actor.id))).scalar_one()
    mode = await tenants.get_reveal_mode(session, actor.tenant_id)
    now = datetime.now(UTC)
    overlap_end = row.previous_key_valid_until
    return ApiSettings(
        api_access=row.api_access,
        api_account_id=row.account_id if row.api_access else None,
        auth_key_hint=row.key_hint if row.api_access else None,
        revealable=row.sealed_key is not None and mode != "off",
        rotated_at=row.key_made_at if row.api_access else None,
        previous_key_valid_until=overlap_end if overlap_end is not None and overlap_end > now else None,
        last_used_at=row.last_used_at,
        livemode=row.livemode,
    )


async def list_own_locations(session: AsyncSession, actor: Actor, paging: Paging) -> Page[OwnLocation]:
    """The locations that jobs of the merchant that calls may name: its own that are active, newest first."""
    merchant = actor.caller.principal
    statement = select(LocationRow).where(
        col(LocationRow.tenant_id) == actor.tenant_id,
        col(LocationRow.location_id).in_(merchant.location_ids),
        col(LocationRow.active),
    )

    def view(row: LocationRow) -> OwnLocation:
        is_default = row.location_id == merchant.default_location_id
        return OwnLocation(id=row.location_id, name=row.name, reference_id=row.reference_id, is_default=is_default)

    order = (col(LocationRow.created_at), col(LocationRow.location_id))
    return await page(session, statement, paging, by=order, view=view, filters=[actor.id])


async def lock_own(session: AsyncSession, actor: Actor) -> MerchantRow:
    """The row of the merchant that calls, locked. Raises `Forbidden` when its API access is off."""
    statement = select(MerchantRow).where(col(MerchantRow.merchant_id) == actor.id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one()
    rules.check_enabled(level=row.level, required_level=merchants.API_ACCESS_LEVEL, api_access=row.api_access)
    return row


def _account(row: MerchantRow) -> ApiAccount:
    assert row.account_id is not None
    return ApiAccount(
        merchant_id=row.merchant_id,
        business_name=row.business_name,
        api_account_id=row.account_id,
        status=row.status,
        livemode=row.livemode,
        last_used_at=row.last_used_at,
    )
