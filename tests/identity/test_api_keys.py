"""User API keys."""

from datetime import UTC, datetime, timedelta

from tests.harness.client import pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant


async def test_a_user_key_narrows_its_owner_and_is_shown_once(identity: Identity, tenant: Tenant) -> None:
    made = await tenant.owner.create("/v1/api-keys", {"name": "ERP", "scopes": ["settings.merchants.read"]})
    key = identity.nobody.using({"X-Api-Key": made["api_key"]}, made)

    assert made["api_key"].startswith("wbk_test_")
    assert (await key.get("/v1/merchants")).status_code == 200
    refused(await key.get("/v1/locations"), 403, "permission_missing")
    refused(await key.post("/v1/sessions/refresh"), 415, "unsupported_media_type")
    assert (await key.read("/v1/permissions"))["scopes"] == ["settings.merchants.read"]
    assert made["api_key"] not in str(await tenant.owner.read("/v1/api-keys"))

    assert (await tenant.owner.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    assert (await tenant.owner.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    refused(await key.get("/v1/merchants"), 401, "credential_revoked")
    await identity.events(made["id"], "credential.issued", "credential.revoked")


async def test_a_key_cannot_have_what_its_owner_lacks(identity: Identity, tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings.api_keys.write", "orders.jobs.read")
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()

    too_much = await clerk.post("/v1/api-keys", {"name": "ERP", "scopes": ["orders"]})
    of_the_past = await clerk.post("/v1/api-keys", {"name": "x", "scopes": ["orders.jobs.read"], "expires_at": past})
    of_the_other_mode = await clerk.post(
        "/v1/api-keys", {"name": "x", "scopes": ["orders.jobs.read"], "livemode": True}
    )
    of_nobody = await identity.platform.post(
        "/v1/api-keys", {"name": "x", "scopes": ["orders"]}, headers={"X-Tenant-Id": tenant.id}
    )

    refused(too_much, 403, "permission_not_held")
    assert pointers(refused(of_the_past, 422, "invalid")) == ["/expires_at"]
    assert pointers(refused(of_the_other_mode, 422, "invalid")) == ["/livemode"]
    refused(of_nobody, 403, "user_required")
