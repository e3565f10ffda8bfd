"""Reveals and rotates the API credentials of the merchant that calls, after a step-up or with its password; renews their digests."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from identity import authentication, changes, mail, merchants, tenants
from identity.api_credentials import rules
from identity.api_credentials.queries import lock_own
from identity.api_credentials.schemas import ApiCredentials, RevealIn, RotateIn
from identity.authentication import Authenticator
from identity.merchants import CredentialIssuer, MerchantRow
from shared import audit
from shared.access.credentials import Peppers
from shared.api import Transactions
from shared.audit import Actor
from shared.events import identity as events

_STORED_DIGESTS = (("key_digest", "key_pepper_version"), ("previous_key_digest", "previous_key_pepper_version"))
"""Columns of what an Auth Key, present or former, is stored as."""


async def reveal(
    authenticator: Authenticator, transactions: Transactions, actor: Actor, issuer: CredentialIssuer, body: RevealIn
) -> ApiCredentials:
    """The merchant's API credentials. The audit event is committed before they are returned.

    Raises `Forbidden` (wrong password, no step-up, API access off, the tenant reveals no keys), `KeyNotStored`, `TooManyRequests`.
    """
    await authentication.require_step_up(authenticator, actor, body)
    async with transactions.begin() as session:
        mode = await tenants.lock_reveal_mode(session, actor.tenant_id)
        row = await lock_own(session, actor)
        key = merchants.reveal_key(row, issuer, mode)
        merchants.publish_change(session, actor, events.CredentialRevealed, row)
        revealed = mail.KeyRevealed(
            account_id=_account_id(row), revealed_at=datetime.now(UTC), address=actor.origin.address
        )
        await mail.send(session, merchants.recipient(row), revealed)
    return _credentials(row, key)


async def rotate(
    authenticator: Authenticator,
    transactions: Transactions,
    actor: Actor,
    issuer: CredentialIssuer,
    body: RotateIn,
    *,
    overlap_seconds_default: int,
) -> ApiCredentials:
    """A new Auth Key for the merchant. The former key stays valid for the overlap. Raises like `reveal`."""
    await authentication.require_step_up(authenticator, actor, body)
    overlap_seconds = overlap_seconds_default if body.overlap_seconds is None else body.overlap_seconds
    async with transactions.begin() as session:
        mode = await tenants.lock_reveal_mode(session, actor.tenant_id)
        row = await lock_own(session, actor)
        key = merchants.rotate_credentials(row, issuer, datetime.now(UTC), overlap_seconds, mode)
        merchants.publish_change(session, actor, events.CredentialRotated, row)
        rotated = mail.KeyRotated(
            account_id=_account_id(row),
            rotated_at=datetime.now(UTC),
            former_valid_until=row.previous_key_valid_until,
            address=actor.origin.address,
        )
        await mail.send(session, merchants.recipient(row), rotated)
    return _credentials(row, key)


async def end_overlap(session: AsyncSession, actor: Actor) -> None:
    """Refuse the merchant's former Auth Key from now on. Where there is none nothing happens. Raises `Forbidden` (API access off)."""
    row = await lock_own(session, actor)
    if rules.overlap_end(row.previous_key_valid_until, datetime.now(UTC)) is not None:
        merchants.end_overlap(row)
        merchants.publish_change(session, actor, events.CredentialOverlapEnded, row)


def _credentials(row: MerchantRow, key: str) -> ApiCredentials:
    return ApiCredentials(
        api_account_id=_account_id(row),
        api_auth_key=key,
        previous_key_valid_until=row.previous_key_valid_until,
    )


def _account_id(row: MerchantRow) -> str:
    assert row.account_id is not None
    return row.account_id


async def redigest(session: AsyncSession, peppers: Peppers, account_id: str, key: str) -> bool:
    """Digest an Auth Key, present or former, with the newest pepper; returns whether it was stored under an older one."""
    row = await merchants.lock_holder(session, account_id)
    return row is not None and redigest_locked(session, peppers, row, key)


def redigest_locked(session: AsyncSession, peppers: Peppers, row: MerchantRow, key: str) -> bool:
    """The same for a locked row."""
    newest = peppers.current_version
    for digest_name, version_name in _STORED_DIGESTS:
        digest, version = getattr(row, digest_name), getattr(row, version_name)
        if digest is not None and version is not None and version < newest and peppers.matches(key, digest, version):
            setattr(row, digest_name, peppers.digest(key))
            setattr(row, version_name, newest)
            row.version += 1
            row.updated_at = datetime.now(UTC)
            changes.publish(session, events.MerchantUpdated, row, subject=row.merchant_id, state=merchants.state(row))
            audit.record_service(session, "credential.redigested", row.merchant_id, tenant_id=row.tenant_id)
            return True
    return False
