"""The audit trail: who did what from where, without secrets."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from identity.app import create_app
from shared.events import audit
from shared.events.audit import AuditRecorded, AuditState
from shared.ids import new_id
from tests.harness.bodies import PASSWORD, email, merchant_body
from tests.harness.client import document, refused
from tests.harness.identity import Identity, running
from tests.harness.people import Tenant
from tests.harness.services import serve
from tests.harness.stack import BackingStack, make_topics
from tests.harness.waiting import eventually


async def test_an_audit_event_has_actor_origin_and_values_without_secrets(tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings")
    merchant = await clerk.create("/v1/merchants", merchant_body(tenant.default_location, level=1))
    await clerk.patch(f"/v1/merchants/{merchant['id']}", {"business_name": "Nouveau", "level": 2})
    clerk_id = clerk.subject_id

    trail = (await tenant.owner.read(f"/v1/audit-events?target={merchant['id']}"))["data"]

    assert [one["action"] for one in trail] == ["merchant.level_changed", "merchant.created"]
    assert {(one["actor"], one["actor_kind"], one["via"]) for one in trail} == {(clerk_id, "staff", "session")}
    assert trail[0]["before"] == {"business_name": merchant["business_name"], "level": 1}
    assert trail[0]["after"] == {"business_name": "Nouveau", "level": 2}
    assert trail[0]["address"]
    assert trail[0]["request_id"]
    everything = str(await tenant.owner.read("/v1/audit-events?limit=200"))
    assert PASSWORD not in everything
    assert "argon2" not in everything
    assert "wbi_" not in everything
    since = trail[0]["created_at"].replace("+00:00", "Z")
    later = (await tenant.owner.read(f"/v1/audit-events?created_at_gte={since}&actor={clerk_id}"))["data"]
    assert [one["id"] for one in later] == [trail[0]["id"]]
    refused(await clerk.get("/v1/audit-events?cursor=nonsense"), 400, "cursor_invalid")
    poor = await tenant.create_staff("orders")
    refused(await poor.get("/v1/audit-events"), 403, "permission_missing")


async def test_the_actions_of_all_services_are_in_one_list(identity: Identity, tenant: Tenant) -> None:
    done = elsewhere(tenant, "jobs.exported", service="jobs", after={"format": "csv"})
    foreign = elsewhere(await identity.create_tenant(), "jobs.exported", service="jobs")

    await identity.publish(foreign, done)
    (listed,) = await trail(tenant, 1, "service=jobs")

    assert listed == {
        "object": "audit_event",
        "id": done.data.audit_id,
        "service": "jobs",
        "tenant_id": tenant.id,
        "created_at": listed["created_at"],
        "actor": "usr_01h455vb4pex5vsknk084sn02q",
        "actor_kind": "staff",
        "via": "user_key",
        "credential_id": "key_01h455vb4pex5vsknk084sn02q",
        "action": "jobs.exported",
        "target": tenant.id,
        "address": "192.0.2.1",
        "request_id": "req_1",
        "before": None,
        "after": {"format": "csv"},
    }
    everything = (await tenant.owner.read("/v1/audit-events"))["data"]
    assert everything[0] == listed
    assert {one["service"] for one in everything} == {"identity", "jobs"}


async def test_a_redelivery_of_the_topic_changes_nothing(identity: Identity, tenant: Tenant) -> None:
    location_id = await tenant.create_location()
    (own,) = await identity.audited(location_id, "location.created")
    before = (await tenant.owner.read("/v1/audit-events?limit=200"))["data"]
    repeated = AuditRecorded(
        tenant_id=tenant.id, subject=location_id, sequence=0, data=own.model_copy(update={"action": "changed"})
    )
    other = elsewhere(tenant, "jobs.exported", service="jobs")

    # A key keeps their order: when the last of each is listed, all are handled.
    await identity.publish(repeated, other, repeated, other)
    for target in (location_id, tenant.id):
        await identity.publish(elsewhere(tenant, "import.created", service="jobs", target=target))
    await trail(tenant, 2, "action=import.created")

    after = (await tenant.owner.read("/v1/audit-events?limit=200"))["data"]
    assert [one for one in after if one["service"] == "identity"] == before
    assert [one["id"] for one in after if one["action"] == "jobs.exported"] == [other.data.audit_id]


async def test_a_record_that_is_no_audit_event_holds_nothing_up(identity: Identity, tenant: Tenant) -> None:
    done = elsewhere(tenant, "jobs.exported", service="jobs")
    broken = done.model_copy(update={"data": done.data.model_copy(update={"audit_id": "nonsense"})})

    await identity.publish(broken, done)

    await trail(tenant, 1, "service=jobs")


async def test_a_refused_log_in_is_recorded_with_its_target(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    body = {"tenant": tenant.id, "email": merchant.document["login_email"], "password": "not the password"}

    refused(await identity.nobody.post("/v1/sessions", body), 401, "credentials_wrong")
    refused(await identity.nobody.post("/v1/sessions", {**body, "email": email()}), 401, "credentials_wrong")
    refused(await identity.nobody.post("/v1/sessions", {**body, "tenant": "nobody"}), 401, "credentials_wrong")

    listed = (await tenant.owner.read("/v1/audit-events?action=session.refused"))["data"]
    assert [one["target"] for one in listed] == [tenant.id, merchant.id]
    assert {(one["actor"], one["actor_kind"], one["via"]) for one in listed} == {("unknown", "unknown", "password")}
    assert {str(one["after"]) for one in listed} == {str({"code": "credentials_wrong"})}
    assert all(one["address"] and one["request_id"] for one in listed)
    assert "not the password" not in str(listed)


async def test_an_audit_event_names_the_client_behind_a_trusted_proxy(identity: Identity, tenant: Tenant) -> None:
    trusting = identity.settings.model_copy(update={"trusted_proxies": "127.0.0.1/32"})
    body = {"tenant": tenant.id, "email": tenant.owner_email, "password": "not the password"}

    async with serve(Identity, create_app, trusting) as service:
        await service.nobody.post("/v1/sessions", body, headers={"X-Forwarded-For": "192.0.2.1, 203.0.113.9"})

    (listed,) = (await tenant.owner.read("/v1/audit-events?action=session.refused"))["data"]
    assert listed["address"] == "203.0.113.9"


async def test_a_suspended_tenants_log_ins_are_recorded_as_refused(identity: Identity, tenant: Tenant) -> None:
    document(await identity.platform.post(f"/v1/tenants/{tenant.id}/suspend"))
    body = {"tenant": tenant.id, "email": tenant.owner_email, "password": PASSWORD}

    refused(await identity.nobody.post("/v1/sessions", body), 403, "tenant_suspended")
    document(await identity.platform.post(f"/v1/tenants/{tenant.id}/activate"))

    (listed,) = (await tenant.owner.read("/v1/audit-events?action=session.refused"))["data"]
    assert listed["after"] == {"code": "tenant_suspended"}


async def test_a_flood_of_guesses_fills_no_table(identity: Identity, tenant: Tenant) -> None:
    limit = int(identity.settings.account_attempts_per_minute)
    body = {"tenant": tenant.id, "email": tenant.owner_email, "password": "not the password"}

    for _ in range(limit + 5):
        await identity.nobody.post("/v1/sessions", body)
    for _ in range(limit + 5):
        await identity.nobody.post("/v1/sessions", {**body, "email": email()})

    listed = (await tenant.owner.read("/v1/audit-events?action=session.refused&limit=200"))["data"]
    found = Counter(one["target"] for one in listed)
    owner_id = tenant.owner.subject_id
    # A budget refills steadily: one more each six seconds.
    assert found.keys() == {owner_id, tenant.id}
    assert all(limit <= count <= limit + 4 for count in found.values()), found


def elsewhere(tenant: Tenant, action: str, *, service: str, **more: Any) -> AuditRecorded:
    """An audit event as another service publishes it."""
    state = AuditState(
        **{
            "audit_id": new_id("aud"),
            "service": service,
            "tenant_id": tenant.id,
            "at": datetime.now(UTC),
            "actor": "usr_01h455vb4pex5vsknk084sn02q",
            "actor_kind": "staff",
            "via": "user_key",
            "credential_id": "key_01h455vb4pex5vsknk084sn02q",
            "address": "192.0.2.1",
            "request_id": "req_1",
            "action": action,
            "target": tenant.id,
            **more,
        }
    )
    return AuditRecorded(tenant_id=tenant.id, subject=state.target, sequence=0, data=state)


async def trail(tenant: Tenant, count: int, query: str) -> list[dict[str, Any]]:
    """The tenant's audit events, once there are so many."""

    async def enough() -> list[dict[str, Any]] | None:
        listed: list[dict[str, Any]] = (await tenant.owner.read(f"/v1/audit-events?{query}"))["data"]
        return listed if len(listed) >= count else None

    found: list[dict[str, Any]] = await eventually(enough, what=f"{count} audit events {query}")
    assert len(found) == count, found
    return found


async def test_identity_serves_without_the_topic_of_audit_events(backing: BackingStack) -> None:
    async with running(backing, without_topics=[audit.TOPIC]) as identity:
        tenant = await identity.create_tenant()
        merchant = await tenant.create_merchant()
        await identity.events(merchant.id, "merchant.created", "api_access.granted")

        assert (await tenant.owner.read("/v1/audit-events?limit=1"))["data"][0]["service"] == "identity"
        await make_topics(identity.settings.kafka_bootstrap_servers, identity.settings.kafka_prefix)
        await identity.audited(merchant.id, "merchant.created", "api_access.granted")
        await identity.publish(elsewhere(tenant, "jobs.exported", service="jobs"))
        await trail(tenant, 1, "service=jobs")
