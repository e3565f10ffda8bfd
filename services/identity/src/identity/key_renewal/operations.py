"""Encrypts and digests anew, row by row.

Both work through the rows in batches, each in a transaction of its own, and find what is left: they can be cut off and started again, and
run while services work. What cannot be renewed stays as it is, and is counted.
"""

import base64
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from identity import api_credentials, api_keys, mail
from identity.api_keys import ApiKeyRow
from identity.merchants import CredentialIssuer, MerchantRow
from identity.password_resets import RESET_REQUEST
from identity.signing_keys import SigningKeyRow
from identity.totp import SecondFactorRow
from shared import tasks
from shared.access.credentials import Peppers
from shared.crypto.encryptor import DecryptionFailed, Encryptor, version_prefix
from shared.postgres.database import Database

BATCH_ROWS = 500
_FIRST = UUID(int=0)

_SEALED: tuple[tuple[str, type[Any], str, str], ...] = (
    ("api_auth_keys", MerchantRow, "sealed_key", "account_id"),
    ("signing_keys", SigningKeyRow, "sealed_private_key", "key_id"),
    ("second_factors", SecondFactorRow, "sealed_secret", "subject_id"),
)
"""What is encrypted in columns: its name in reports, its table and column, and the column with which each value is bound to its row."""


_WAITING = {"mails": (mail.PROMPT, mail.NOTICE), "reset_requests": (RESET_REQUEST,)}
"""What is encrypted in tasks that wait: its name in reports, and the kinds of the tasks."""


async def reseal(database: Database, encryptor: Encryptor) -> dict[str, int]:
    """Encrypt with the newest key what is encrypted with an older one; returns how many values of each kind."""
    renewed = {}
    for name, kinds in _WAITING.items():
        renewed[name] = 0
        after: UUID | None = _FIRST
        while after is not None:
            async with database.transaction() as session:
                count, after = await tasks.renew_payloads(
                    session, kinds, partial(_resealed, encryptor), after=after, rows_max=BATCH_ROWS
                )
                renewed[name] += count
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
    columns = {
        name: await _count(session, table, _is_older(col(getattr(table, column)), encryptor))
        for name, table, column, _ in _SEALED
    }
    waiting = {
        name: sum(_is_sealed_with_older(encryptor, payload) for payload in await tasks.payloads(session, kinds))
        for name, kinds in _WAITING.items()
    }
    return {**columns, **waiting}


def _resealed(encryptor: Encryptor, key: str, payload: dict[str, Any]) -> dict[str, Any] | None:
    """The payload of a task, encrypted with the newest key; None when it is, or when its key is no longer in the settings."""
    if not _is_sealed_with_older(encryptor, payload):
        return None
    bound_to = payload.get("mail_id", key)
    try:
        plain = encryptor.decrypt(base64.b64decode(payload["sealed"]), associated_data=bound_to)
    except DecryptionFailed:
        return None
    sealed = base64.b64encode(encryptor.encrypt(plain, associated_data=bound_to)).decode()
    return {**payload, "sealed": sealed}


def _is_sealed_with_older(encryptor: Encryptor, payload: dict[str, Any]) -> bool:
    return not base64.b64decode(payload["sealed"]).startswith(version_prefix(encryptor.current_version))


async def redigest(database: Database, issuer: CredentialIssuer) -> int:
    """Digest with the newest pepper those API Auth Keys of which a copy is stored, and publish that; returns how many.

    The keys themselves stay as they are. Every service must have the newest pepper already.
    """

    async def renew(session: AsyncSession, row: MerchantRow) -> bool:
        assert row.account_id is not None
        assert row.sealed_key is not None
        try:
            key = issuer.encryptor.decrypt(row.sealed_key, associated_data=row.account_id).decode()
        except DecryptionFailed:
            return False
        return api_credentials.redigest_locked(session, issuer.peppers, row, key)

    stored = select(MerchantRow).where(
        col(MerchantRow.key_pepper_version) < issuer.peppers.current_version, col(MerchantRow.sealed_key).is_not(None)
    )
    return await _in_batches(database, stored, col(MerchantRow.merchant_id), in_session=renew)


async def redigest_used(session: AsyncSession, peppers: Peppers, credential_id: str, key: str) -> bool:
    """Digest a key that was used with the newest pepper, and publish that; returns whether it was stored under an older one."""
    if credential_id.startswith("acct_"):
        return await api_credentials.redigest(session, peppers, credential_id, key)
    return await api_keys.redigest(session, peppers, credential_id, key)


async def count_older_digests(session: AsyncSession, peppers: Peppers) -> dict[str, int]:
    """How many keys are verified with an older pepper: they end with it.

    A digest can be renewed only from the key itself: by `redigest` from a stored copy, else when the key is next used at identity. What is
    not used there has to be rotated or replaced; former keys end with their overlap.
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
