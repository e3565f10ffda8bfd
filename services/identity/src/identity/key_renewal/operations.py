"""Encrypts and digests anew, row by row.

Both work through the rows in batches, each in a transaction of its own, and find what is left: they can be cut off and started again, and
run while services work. What cannot be renewed stays as it is, and is counted.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import changes, merchants
from identity.api_keys import ApiKeyRow
from identity.merchants import CredentialIssuer, MerchantRow
from identity.signing_keys import SigningKeyRow
from identity.totp import SecondFactorRow
from shared import audit
from shared.access.credentials import Peppers
from shared.crypto.encryptor import DecryptionFailed, Encryptor, version_prefix
from shared.events import identity as events
from shared.postgres.database import Database

BATCH_ROWS = 500

_SEALED: tuple[tuple[str, type[Any], str, str], ...] = (
    ("api_auth_keys", MerchantRow, "sealed_key", "account_id"),
    ("signing_keys", SigningKeyRow, "sealed_private_key", "key_id"),
    ("second_factors", SecondFactorRow, "sealed_secret", "subject_id"),
)
"""What is encrypted: its name in reports, its table and column, and the column with which each value is bound to its row."""


async def reseal(database: Database, encryptor: Encryptor) -> dict[str, int]:
    """Encrypt with the newest key what is encrypted with an older one; returns how many values of each kind."""
    renewed = {}
    for name, table, column, bound_to in _SEALED:

        def renew(row: Any, column: str = column, bound_to: str = bound_to) -> bool:
            value, associated_data = getattr(row, column), getattr(row, bound_to)
            try:
                plain = encryptor.decrypt(value, associated_data=associated_data)
            except DecryptionFailed:
                # Its key is no longer in the settings: it is counted as left.
                return False
            setattr(row, column, encryptor.encrypt(plain, associated_data=associated_data))
            return True

        older = _is_older(col(getattr(table, column)), encryptor)
        identity = next(iter(table.__table__.primary_key.columns)).name
        renewed[name] = await _in_batches(database, select(table).where(older), col(getattr(table, identity)), renew)
    return renewed


async def count_sealed_with_older(session: AsyncSession, encryptor: Encryptor) -> dict[str, int]:
    """How many values of each kind are encrypted with an older key."""
    return {
        name: await _count(session, table, _is_older(col(getattr(table, column)), encryptor))
        for name, table, column, _ in _SEALED
    }


async def redigest(database: Database, issuer: CredentialIssuer) -> int:
    """Digest with the newest pepper those API Auth Keys of which a copy is stored, and publish that; returns how many.

    The keys themselves stay as they are. Every service must have the newest pepper already.
    """

    async def renew(session: AsyncSession, row: MerchantRow) -> bool:
        assert row.account_id is not None
        assert row.sealed_key is not None
        assert row.key_digest is not None
        assert row.key_pepper_version is not None
        try:
            key = issuer.encryptor.decrypt(row.sealed_key, associated_data=row.account_id).decode()
        except DecryptionFailed:
            return False
        if not issuer.peppers.matches(key, row.key_digest, row.key_pepper_version):
            return False
        row.key_digest = issuer.peppers.digest(key)
        row.key_pepper_version = issuer.peppers.current_version
        row.version += 1
        row.updated_at = datetime.now(UTC)
        changes.publish(session, events.MerchantUpdated, row, subject=row.merchant_id, state=merchants.state(row))
        audit.record_service(session, "credential.redigested", row.merchant_id, tenant_id=row.tenant_id)
        return True

    stored = select(MerchantRow).where(
        col(MerchantRow.key_pepper_version) < issuer.peppers.current_version, col(MerchantRow.sealed_key).is_not(None)
    )
    return await _in_batches(database, stored, col(MerchantRow.merchant_id), in_session=renew)


async def count_older_digests(session: AsyncSession, peppers: Peppers) -> dict[str, int]:
    """How many keys are verified with an older pepper: they end with it.

    A digest can be renewed only from the key itself. Merchants without a stored copy have to rotate; user and platform API keys have to be
    replaced; former keys end with their overlap.
    """
    newest = peppers.current_version
    active = col(ApiKeyRow.revoked_at).is_(None) & or_(
        col(ApiKeyRow.expires_at).is_(None), col(ApiKeyRow.expires_at) > func.now()
    )
    older_key = col(ApiKeyRow.pepper_version) < newest
    return {
        "api_auth_keys": await _count(
            session, MerchantRow, col(MerchantRow.api_access).is_(True), col(MerchantRow.key_pepper_version) < newest
        ),
        "former_api_auth_keys": await _count(
            session,
            MerchantRow,
            col(MerchantRow.previous_key_pepper_version) < newest,
            col(MerchantRow.previous_key_valid_until) > func.now(),
        ),
        "user_keys": await _count(session, ApiKeyRow, active, older_key, col(ApiKeyRow.kind) == "user_key"),
        "platform_keys": await _count(session, ApiKeyRow, active, older_key, col(ApiKeyRow.kind) == "platform_key"),
    }


async def _in_batches(
    database: Database,
    older: Select[Any],
    identity: Any,
    renew: Callable[[Any], bool] | None = None,
    *,
    in_session: Callable[[AsyncSession, Any], Awaitable[bool]] | None = None,
) -> int:
    """Renew the rows that this statement selects, in the order of their ids; returns how many were renewed."""
    renewed, after = 0, None
    while True:
        statement = older if after is None else older.where(identity > after)
        async with database.transaction() as session:
            rows = await _locked(session, statement.order_by(identity).limit(BATCH_ROWS))
            for row in rows:
                renewed += await in_session(session, row) if in_session else bool(renew and renew(row))
            if len(rows) < BATCH_ROWS:
                return renewed
            after = getattr(rows[-1], identity.key)


async def _locked(session: AsyncSession, statement: Select[Any]) -> list[Any]:
    return list((await session.execute(statement.with_for_update(key_share=True))).scalars())


def _is_older(column: Any, encryptor: Encryptor) -> ColumnElement[bool]:
    newest = version_prefix(encryptor.current_version)
    return and_(column.is_not(None), func.substring(column, 1, len(newest)) != newest)


async def _count(session: AsyncSession, table: type[Any], *conditions: ColumnElement[bool]) -> int:
    found: int = await session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0
    return found
