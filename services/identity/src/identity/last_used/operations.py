"""Keeps when API credentials and API keys were last used."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import to_uuid

# Rows are locked in one order, so that two replicas that were told of the same credentials cannot deadlock.
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


async def mark_used(session: AsyncSession, used: Mapping[str, datetime]) -> None:
    """Keep when credentials (by Account ID, or a key's id) were last used; ids that nobody has are ignored.

    An instant never moves backwards, and one that another process's clock has ahead of ours is now. Nothing else of the row changes: a use
    is no change that anybody has to be told of.
    """
    for prefix, statement in _MARK_USED_BY_PREFIX.items():
        found = {}
        for credential_id, used_at in used.items():
            with suppress(ValueError):
                if credential_id.startswith(f"{prefix}_"):
                    found[to_uuid(credential_id)] = used_at
        if found:
            await session.execute(statement, {"ids": list(found), "used_at": list(found.values())})
