"""The audit trail: who did what from where, without secrets."""

from tests.harness.bodies import PASSWORD, merchant_body
from tests.harness.client import document, refused
from tests.harness.people import Tenant


async def test_an_audit_event_has_actor_origin_and_values_without_secrets(tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings")
    merchant = await clerk.create("/v1/merchants", merchant_body(tenant.default_location, level=1))
    await clerk.patch(f"/v1/merchants/{merchant['id']}", {"business_name": "Nouveau", "level": 2})
    clerk_id = clerk.subject_id

    trail = document(await tenant.owner.get(f"/v1/audit-events?target={merchant['id']}"))["data"]

    assert [one["action"] for one in trail] == ["merchant.level_changed", "merchant.created"]
    assert {(one["actor"], one["actor_kind"], one["via"]) for one in trail} == {(clerk_id, "staff", "session")}
    assert trail[0]["before"] == {"business_name": merchant["business_name"], "level": 1}
    assert trail[0]["after"] == {"business_name": "Nouveau", "level": 2}
    assert trail[0]["address"]
    assert trail[0]["request_id"]
    everything = str(document(await tenant.owner.get("/v1/audit-events?limit=200")))
    assert PASSWORD not in everything
    assert "argon2" not in everything
    assert "wbi_" not in everything
    since = trail[0]["created_at"].replace("+00:00", "Z")
    later = document(await tenant.owner.get(f"/v1/audit-events?created_at_gte={since}&actor={clerk_id}"))["data"]
    assert [one["id"] for one in later] == [trail[0]["id"]]
    refused(await clerk.get("/v1/audit-events?cursor=nonsense"), 400, "cursor_invalid")
    poor = await tenant.create_staff("orders")
    refused(await poor.get("/v1/audit-events"), 403, "permission_missing")
