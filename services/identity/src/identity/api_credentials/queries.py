"""Reads API accounts and a merchant's API settings, and locks a merchant that has API access."""

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import locations, merchants, request_log, tenants
from identity.api_credentials import rules
from identity.api_credentials.schemas import ApiAccount, ApiSettings, OwnLocation
from identity.locations import LocationRow
from identity.merchants import MerchantRow
from identity.search_words import search_page
from shared.api import Page, Paging
from shared.audit import Actor


async def list_api_accounts(
    session: AsyncSession, actor: Actor, paging: Paging, *, unused_since: datetime | None, q: str | None
) -> Page[ApiAccount]:
    """The merchants that have API access, newest first, with their API Account IDs; never a key.

    With `unused_since` only those whose credentials have not been used since, and are not younger; with `q` those whose words begin with
    its words.
    """
    statement = merchants.visible_rows(actor).where(col(MerchantRow.api_access))
    if unused_since is not None:
        used_or_made_at = func.greatest(col(MerchantRow.last_used_at), col(MerchantRow.key_made_at))
        statement = statement.where(used_or_made_at < unused_since)
    found = await search_page(
        session, MerchantRow, actor.tenant_id, statement, paging, q=q, view=lambda row: row, filters=[unused_since]
    )
    now = datetime.now(UTC)
    counted = await request_log.counts_of(
        session, actor.tenant_id, [row.account_id for row in found.data if row.account_id], now
    )
    accounts = [_account(row, counted.get(row.account_id or "", (0, 0)), now) for row in found.data]
    return Page(data=accounts, has_more=found.has_more, next_cursor=found.next_cursor)


async def get_settings(session: AsyncSession, actor: Actor) -> ApiSettings:
    """The API settings of the merchant that calls."""
    row = (await session.execute(select(MerchantRow).where(col(MerchantRow.merchant_id) == actor.id))).scalar_one()
    mode = await tenants.get_reveal_mode(session, actor.tenant_id)
    return ApiSettings(
        api_access=row.api_access,
        api_account_id=row.account_id if row.api_access else None,
        auth_key_hint=row.key_hint if row.api_access else None,
        revealable=row.sealed_key is not None and mode != "off",
        rotated_at=row.key_made_at if row.api_access else None,
        previous_key_valid_until=rules.overlap_end(row.previous_key_valid_until, datetime.now(UTC)),
        previous_key_last_used_at=row.previous_key_used_at,
        last_used_at=row.last_used_at,
        livemode=row.livemode,
    )


async def list_own_locations(session: AsyncSession, actor: Actor, paging: Paging) -> Page[OwnLocation]:
    """The locations that jobs of the merchant that calls may name: its own that are active, newest first."""
    merchant = actor.caller.principal
    own = col(LocationRow.location_id).in_(merchant.location_ids)
    statement = locations.visible_rows(actor).where(own, col(LocationRow.active))

    def view(row: LocationRow) -> OwnLocation:
        is_default = row.location_id == merchant.default_location_id
        return OwnLocation(id=row.location_id, name=row.name, reference_id=row.reference_id, is_default=is_default)

    return await search_page(
        session, LocationRow, actor.tenant_id, statement, paging, q=None, view=view, filters=[actor.id]
    )


async def lock_own(session: AsyncSession, actor: Actor) -> MerchantRow:
    """The row of the merchant that calls, locked. Raises `Forbidden` when its API access is off."""
    statement = select(MerchantRow).where(col(MerchantRow.merchant_id) == actor.id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one()
    rules.check_enabled(level=row.level, required_level=merchants.API_ACCESS_LEVEL, api_access=row.api_access)
    return row


def _account(row: MerchantRow, counted: tuple[int, int], now: datetime) -> ApiAccount:
    assert row.account_id is not None
    return ApiAccount(
        merchant_id=row.merchant_id,
        business_name=row.business_name,
        api_account_id=row.account_id,
        status=row.status,
        livemode=row.livemode,
        last_used_at=row.last_used_at,
        rotated_at=row.key_made_at,
        previous_key_valid_until=rules.overlap_end(row.previous_key_valid_until, now),
        calls_24h=counted[0],
        errors_24h=counted[1],
    )
