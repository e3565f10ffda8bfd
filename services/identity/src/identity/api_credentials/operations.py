"""Lists API accounts, and reveals and rotates a merchant's API credentials in its own session."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import audit, authentication, merchants, tenants
from identity.actors import Actor
from identity.api_credentials.schemas import ApiAccount, ApiCredentials, ApiSettings, RevealIn, RotateIn
from identity.authentication import Authenticator
from identity.merchants import CredentialIssuer, MerchantRow
from shared.api import Page, Paging, page
from shared.errors import Forbidden
from shared.events import identity as facts


async def list_api_accounts(session: AsyncSession, actor: Actor, paging: Paging) -> Page[ApiAccount]:
    """The merchants that have API access, newest first, with their account ids. Never a key."""
    statement = tenants.visible_to(select(MerchantRow), actor, MerchantRow.tenant_id, MerchantRow.livemode)
    order = (col(MerchantRow.created_at), col(MerchantRow.merchant_id))
    return await page(session, statement.where(col(MerchantRow.api_access)), paging, by=order, view=_account)


async def get_settings(session: AsyncSession, actor: Actor) -> ApiSettings:
    """The calling merchant's own settings."""
    row = (await session.execute(select(MerchantRow).where(col(MerchantRow.merchant_id) == actor.id))).scalar_one()
    now = datetime.now(UTC)
    overlap_end = row.previous_key_valid_until
    return ApiSettings(
        api_access=row.api_access,
        api_account_id=row.account_id if row.api_access else None,
        auth_key_hint=row.key_hint if row.api_access else None,
        rotated_at=row.key_made_at if row.api_access else None,
        previous_key_valid_until=overlap_end if overlap_end is not None and overlap_end > now else None,
        last_used_at=row.last_used_at,
        livemode=row.livemode,
    )


async def reveal(
    authenticator: Authenticator, actor: Actor, issuer: CredentialIssuer, body: RevealIn
) -> ApiCredentials:
    """The merchant's pair, after its password was given once more; the trail knows of it before the answer leaves.

    Raises `Forbidden` (wrong password, API access off) or `TooManyRequests`.
    """
    await authentication.reauthenticate(authenticator, actor, body.password)
    async with authenticator.database.transaction() as session:
        row = await _lock_enabled(session, actor)
        key = merchants.reveal_key(row, issuer)
        _publish_and_record(session, actor, row, facts.CredentialRevealed)
    return _credentials(row, key)


async def rotate(
    authenticator: Authenticator,
    actor: Actor,
    issuer: CredentialIssuer,
    body: RotateIn,
    *,
    overlap_seconds_default: int,
) -> ApiCredentials:
    """A new Auth Key for the merchant; the former one stays valid for the overlap. Raises like `reveal`."""
    await authentication.reauthenticate(authenticator, actor, body.password)
    overlap_seconds = overlap_seconds_default if body.overlap_seconds is None else body.overlap_seconds
    async with authenticator.database.transaction() as session:
        row = await _lock_enabled(session, actor)
        merchants.rotate_credentials(row, issuer, datetime.now(UTC), overlap_seconds)
        key = merchants.reveal_key(row, issuer)
        _publish_and_record(session, actor, row, facts.CredentialRotated)
    return _credentials(row, key)


async def _lock_enabled(session: AsyncSession, actor: Actor) -> MerchantRow:
    statement = select(MerchantRow).where(col(MerchantRow.merchant_id) == actor.id).with_for_update(key_share=True)
    row = (await session.execute(statement)).scalar_one()
    if row.level != merchants.API_ACCESS_LEVEL:
        raise Forbidden(
            f"API access is for merchants of level {merchants.API_ACCESS_LEVEL}", code="merchant_level_required"
        )
    if not row.api_access:
        raise Forbidden("API access is off for this merchant", code="api_access_off")
    return row


def _publish_and_record(session: AsyncSession, actor: Actor, row: MerchantRow, fact: type[facts.MerchantEvent]) -> None:
    row.version += 1
    row.updated_at = datetime.now(UTC)
    merchants.publish(session, fact, row, row.version)
    audit.record(session, actor, fact.type_name(), row.merchant_id)


def _credentials(row: MerchantRow, key: str) -> ApiCredentials:
    assert row.account_id is not None
    return ApiCredentials(
        api_account_id=row.account_id,
        api_auth_key=key,
        previous_key_valid_until=row.previous_key_valid_until,
    )


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
