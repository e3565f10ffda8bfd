"""Access that ends between a request's decision, which reads a cache, and its write."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import httpx

from tests.harness.waiting import eventually

SUSPEND_TENANT = "UPDATE access_tenants SET status = 'suspended' WHERE tenant_id = $1"
END_SUBSCRIPTION = "UPDATE access_entitlements SET status = 'expired' WHERE tenant_id = $1"
DISABLE_SUBJECT = "UPDATE access_subjects SET active = false WHERE subject_id = $1"
END_API_ACCESS = "UPDATE access_subjects SET api_access = false WHERE subject_id = $1"
TAKE_PERMISSIONS = "UPDATE access_subjects SET permissions = '{}' WHERE subject_id = $1"
REVOKE_SESSIONS = "UPDATE access_subjects SET sessions_valid_from = now() + interval '1 hour' WHERE subject_id = $1"
REVOKE_KEY = "UPDATE access_credentials SET active = false WHERE credential_id = $1"
REPLACE_KEY = "UPDATE access_credentials SET digests = '[]' WHERE credential_id = $1"


async def change_unannounced(database_url: str, statement: str, name: UUID | str) -> None:
    """Change a service's access projection without the notification that empties its cache.

    So it is between an event's arrival and the notification: requests are still admitted.
    """
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.execute(statement, name) == "UPDATE 1"
    finally:
        await connection.close()


async def change_meanwhile(
    database_url: str, statement: str, name: UUID | str, send: Callable[[], Awaitable[httpx.Response]]
) -> httpx.Response:
    """The response to a request with an Idempotency-Key that is admitted before the change and writes after it.

    A lock on the table of the keys holds the request between the two.
    """
    connection = await asyncpg.connect(database_url)

    async def is_held() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'idempotency_keys'::regclass AND NOT granted"
        return bool(await connection.fetchval(waiting))

    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE")
            answering = asyncio.ensure_future(send())
            await eventually(is_held, what="the request has been admitted")
            assert await connection.execute(statement, name) == "UPDATE 1"
        return await answering
    finally:
        await connection.close()
