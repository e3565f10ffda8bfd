"""Access that ends between a request's decision, which reads a cache, and its write."""

from uuid import UUID

import asyncpg

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
