"""A tenant is closed for good, and what is known of its people is deleted later."""

from typing import Any

import asyncpg

from identity import closure
from shared.ids import to_uuid
from tests.harness.bodies import PASSWORD, tenant_body
from tests.harness.client import document, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant
from tests.harness.waiting import eventually


async def test_a_closed_tenant_lets_nobody_in_and_stays_closed(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    integration, session = await merchant.reveal(), await merchant.session()
    path = f"/v1/tenants/{tenant.id}"
    refused(await tenant.owner.post(f"{path}/close"), 403, "permission_missing")

    closed = document(await identity.platform.post(f"{path}/close"))
    again = document(await identity.platform.post(f"{path}/close"))

    assert (closed["status"], again) == ("closed", closed)
    for caller in (tenant.owner, session, integration, identity.platform.in_tenant(tenant.id)):
        refused(await caller.get("/v1/permissions"), 403, "tenant_closed")
    login = {"tenant": tenant.id, "email": tenant.owner_email, "password": PASSWORD}
    refused(await identity.nobody.post("/v1/sessions", login), 403, "tenant_closed")
    renewal = {"refresh_token": tenant.owner.document["refresh_token"]}
    refused(await identity.nobody.post("/v1/sessions/refresh", renewal), 401, "refresh_token_wrong")
    for attempt in (
        identity.platform.post(f"{path}/activate"),
        identity.platform.post(f"{path}/suspend"),
        identity.platform.patch(path, {"job_review": True}),
    ):
        refused(await attempt, 409, "tenant_closed")
    await identity.events(tenant.id, "tenant.created", "tenant.closed")
    assert document(await identity.platform.get(path))["status"] == "closed"


async def test_what_is_known_of_people_is_deleted_when_the_time_has_come(identity: Identity, tenant: Tenant) -> None:
    other = await identity.create_tenant()
    await tenant.create_staff("home")
    merchant = await tenant.create_merchant(phone="+15145550100", metadata={"a": "b"}, reference_id="R-1")
    document(await identity.platform.post(f"/v1/tenants/{tenant.id}/close"))
    connection: Any = await asyncpg.connect(identity.settings.database_url)

    async def count(table: str, condition: str = "true") -> int:
        query = f"SELECT count(*) FROM {table} WHERE tenant_id = $1 AND ({condition})"
        found: int = await connection.fetchval(query, to_uuid(tenant.id))
        return found

    try:
        due = "SELECT extract(day FROM due_at - now()) FROM tasks WHERE kind = $1 AND key = $2"
        assert await connection.fetchval(due, closure.PURGE, tenant.id) == identity.settings.closed_tenant_days - 1
        # Until then everything stays.
        assert (await count("logins"), await count("merchants", "phone IS NOT NULL")) == (3, 1)

        early = "UPDATE tasks SET due_at = now(), next_at = now() WHERE kind = $1 AND key = $2"
        await connection.execute(early, closure.PURGE, tenant.id)

        async def purged() -> bool:
            return await count("tenants", "purged_at IS NOT NULL") == 1

        await eventually(purged, what="the tenant is purged")
        assert [await count("logins"), await count("sessions")] == [0, 0]
        row = await connection.fetchrow("SELECT * FROM merchants WHERE merchant_id = $1", to_uuid(merchant.id))
        assert (row["business_name"], row["login_email"], row["reference_id"]) == ("purged", "", None)
        kept = ("contact_email", "phone", "address", "sealed_key")
        assert [row[name] for name in kept] == [None] * 4
        assert (row["metadata"], row["key_digest"] is not None) == ("{}", True)
        assert await count("users", "email <> '' OR first_name <> 'purged' OR last_name <> ''") == 0
        actions = "SELECT array_agg(action ORDER BY action) FROM audit_events WHERE tenant_id = $1"
        assert await connection.fetchval(actions, to_uuid(tenant.id)) == ["tenant.closed", "tenant.purged"]
    finally:
        await connection.close()
    assert (await other.owner.read("/v1/staff"))["data"][0]["email"] == other.owner_email
    # Another company can have the name.
    document(await identity.platform.post("/v1/tenants", tenant_body(tenant.name)), 201)
