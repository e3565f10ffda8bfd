"""What administrators do to endpoints, deliveries and replays, and what webhooks does by itself, is audited."""

from datetime import UTC, datetime, timedelta

from tests.harness.client import document
from tests.harness.receiver import Receiver
from tests.harness.webhooks import Tenant

PATH = "/v1/webhook-endpoints"


async def test_changes_of_an_endpoint_are_audited_with_their_fields(tenant: Tenant) -> None:
    admin = await tenant.create_staff("settings.webhooks.write")
    body = {"url": "https://example.com/a", "event_types": ["*"], "location_ids": "*", "headers": {"X-Key": "sesame"}}
    made = await admin.create(PATH, body, headers={"X-Request-Id": "req-created"})
    path = f"{PATH}/{made['id']}"
    patch = {"url": "https://example.com/b", "headers": {"X-Key": "open"}}

    document(await admin.patch(path, patch, headers={"X-Request-Id": "req-updated"}))
    document(await admin.patch(path, patch))
    await admin.create(f"{path}/disable")
    await admin.create(f"{path}/disable")
    await admin.create(f"{path}/enable")
    assert (await admin.delete(path)).status_code == 204

    created, updated, disabled, enabled, deleted = trail = await tenant.service.audited(
        made["id"],
        "endpoint.created",
        "endpoint.updated",
        "endpoint.disabled",
        "endpoint.enabled",
        "endpoint.deleted",
    )
    assert {(one.service, one.tenant_id) for one in trail} == {("webhooks", tenant.id)}
    assert {(one.actor, one.actor_kind, one.via, one.credential_id) for one in trail} == {
        (admin.subject_id, "staff", "session", None)
    }
    assert (created.request_id, updated.request_id) == ("req-created", "req-updated")
    assert all(one.address for one in trail)
    assert (created.before, (created.after or {})["url"]) == (None, "https://example.com/a")
    hidden = {"X-Key": "[redacted]"}
    assert updated.before == {"url": "https://example.com/a", "headers": hidden}
    assert updated.after == {"url": "https://example.com/b", "headers": hidden}
    assert (disabled.before or {})["enabled"] is True
    assert (disabled.after or {})["disabled_reason"] == "requested"
    assert (enabled.after or {})["enabled"] is True
    assert ((deleted.before or {})["url"], deleted.after) == ("https://example.com/b", None)
    assert not [word for word in ("sesame", "open", "whsec_", made["secret"]) if word in str(trail)]


async def test_an_endpoint_that_is_disabled_by_itself_is_audited(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda _: 410
    made = await tenant.create_endpoint(receiver.url("/gone"))
    await tenant.publish_job()

    _, disabled = await tenant.service.audited(made["id"], "endpoint.created", "endpoint.disabled")

    assert (disabled.actor, disabled.actor_kind, disabled.via) == ("webhooks", "service", "service")
    assert (disabled.address, disabled.request_id, disabled.tenant_id) == ("", "", tenant.id)
    assert disabled.after == {"enabled": False, "disabled_reason": "gone"}


async def test_what_is_sent_again_is_audited(tenant: Tenant, receiver: Receiver) -> None:
    made = await tenant.create_endpoint(receiver.url())
    for _ in range(5):
        await tenant.publish_job()
    delivery_id = (await tenant.delivered(5))[0]["id"]

    document(await tenant.owner.post(f"/v1/deliveries/{delivery_id}/resend"), 202)
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    body = {"endpoint_id": made["id"], "kind": "filter", "since": since, "rate_per_second": 0.1}
    replay = await tenant.owner.create("/v1/replays", body)
    for _ in range(2):
        await tenant.owner.create(f"/v1/replays/{replay['id']}/cancel")

    await tenant.service.audited(delivery_id, "delivery.resent")
    ordered, cancelled = await tenant.service.audited(replay["id"], "replay.ordered", "replay.cancelled")
    assert (ordered.actor, (ordered.after or {})["endpoint_id"]) == (tenant.owner.subject_id, made["id"])
    assert (cancelled.before or {})["status"] == "running"
    assert (cancelled.after or {})["status"] == "cancelled"
