"""Stores when API credentials and API keys were last used."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from identity.last_used import rules
from shared.ids import to_uuid

# Rows are locked in one order, so that two replicas that mark the same credentials cannot deadlock.
_MARK_USED = """
    WITH locked AS MATERIALIZED (
        SELECT {key}, least(used_at, now()) AS used_at
        FROM {table} JOIN unnest(CAST(:ids AS uuid[]), CAST(:used_at AS timestamptz[])) AS use (id, used_at) ON {key} = id
        WHERE last_used_at IS NULL OR last_used_at < used_at
        ORDER BY {key} FOR NO KEY UPDATE OF {table}
    )
    UPDATE {table} SET last_used_at = greatest(last_used_at, used_at) FROM locked WHERE {table}.{key} = locked.{key}
"""
_MARK_USED_BY_PREFIX = {
    "acct": text(_MARK_USED.format(table="merchants", key="account_id")),
    "key": text(_MARK_USED.format(table="api_keys", key="key_id")),
}

# A use of before the latest rotation was one of the key before.
_MARK_FORMER_KEY_USED = text(
    """
    WITH locked AS MATERIALIZED (
        SELECT account_id, least(used_at, now()) AS used_at
        FROM merchants JOIN unnest(CAST(:ids AS uuid[]), CAST(:used_at AS timestamptz[])) AS use (id, used_at) ON account_id = id
        WHERE previous_key_digest IS NOT NULL AND used_at >= key_made_at
        ORDER BY account_id FOR NO KEY UPDATE OF merchants
    )
    UPDATE merchants SET previous_key_used_at = greatest(previous_key_used_at, used_at) FROM locked
    WHERE merchants.account_id = locked.account_id
    """
)


async def mark_used(session: AsyncSession, uses: Sequence[tuple[str, datetime]]) -> None:
    """Store the latest use of each credential, given its API Account ID or API key id and an instant. Unknown ids are ignored.

    The stored instant never moves backwards, and an instant in the future counts as now. The version stays and nothing is published.
    """
    for prefix, statement in _MARK_USED_BY_PREFIX.items():
        await _mark(session, statement, prefix, uses)


async def mark_former_keys_used(session: AsyncSession, uses: Sequence[tuple[str, datetime]]) -> None:
    """Store the latest use of each merchant's former key, as `mark_used` does."""
    await _mark(session, _MARK_FORMER_KEY_USED, "acct", uses)


async def _mark(
    session: AsyncSession, statement: TextClause, prefix: str, uses: Iterable[tuple[str, datetime]]
) -> None:
    used_at_by_id = {}
    for credential_id, used_at in rules.latest_uses(uses).items():
        with suppress(ValueError):
            if credential_id.startswith(f"{prefix}_"):
                used_at_by_id[to_uuid(credential_id)] = used_at
    if used_at_by_id:
        await session.execute(statement, {"ids": list(used_at_by_id), "used_at": list(used_at_by_id.values())})
