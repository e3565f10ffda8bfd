"""Exports, imports and erasures are audited, without what they were about."""

import asyncio
import json

from shared.events import audit
from shared.events.audit import AuditState
from tests.harness.bodies import smallest_job
from tests.harness.client import Api, document, refused
from tests.harness.jobs import Tenant, running
from tests.harness.stack import BackingStack, make_topics


async def test_an_export_is_audited_before_its_first_job_leaves(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job()
    clerk = await tenant.create_user(permissions=["orders"])
    query = "format=ndjson&phone=%2B15145550100&status=new&q=ada"

    exported = await clerk.get(f"/v1/job-exports?{query}", headers={"X-Request-Id": "req-export"})
    own = await merchant.api.get("/v1/job-exports")
    refused(await clerk.get("/v1/job-exports?status=nonsense"), 422, "invalid")

    assert (exported.status_code, own.status_code) == (200, 200)
    by_clerk, by_merchant = await tenant.service.audited(tenant.id, "jobs.exported", "jobs.exported")
    assert (by_clerk.service, by_clerk.tenant_id, by_clerk.request_id) == ("jobs", tenant.id, "req-export")
    assert (by_clerk.actor_kind, by_clerk.via) == ("staff", "user_key")
    assert (by_clerk.credential_id or "").startswith("key_")
    assert by_clerk.address
    assert by_clerk.after == {"format": "ndjson", "filters": ["phone", "q", "status"]}
    assert (by_merchant.actor, by_merchant.actor_kind, by_merchant.via) == (merchant.id, "merchant", "pair")
    assert by_merchant.credential_id == merchant.account_id
    assert_nothing_personal(by_clerk, by_merchant)


async def test_an_import_is_audited_when_it_is_created_and_cancelled(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    lines = "\n".join(json.dumps(smallest_job(reference_id=f"R-{number}")) for number in range(2_000))
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "once"}

    made, _ = [
        document(await merchant.api.post("/v1/job-imports", content=lines, headers=headers), 202) for _ in range(2)
    ]
    path = f"/v1/job-imports/{made['id']}"
    cancelled, again = [document(await merchant.api.post(f"{path}/cancel")) for _ in range(2)]
    refused(
        await merchant.api.post("/v1/job-imports", content="", headers={**headers, "Idempotency-Key": "2"}),
        400,
        "body_missing",
    )

    assert cancelled == again
    created, ended = await tenant.service.audited(made["id"], "import.created", "import.cancelled")
    assert (created.actor, created.via, created.credential_id) == (merchant.id, "pair", merchant.account_id)
    assert created.after is not None
    assert {name: created.after[name] for name in ("status", "format", "dry_run", "bytes_total")} == {
        "status": "queued",
        "format": "ndjson",
        "dry_run": False,
        "bytes_total": len(lines),
    }
    assert (ended.before or {})["status"] in ("queued", "running")
    assert (ended.after or {})["status"] == "cancelled"
    assert_nothing_personal(created, ended)


async def test_an_erasure_is_audited_without_the_customer(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.api.create_job()
    office = await tenant.create_user(permissions=["customers"], scopes=["customers"])
    (customer,) = (await office.read("/v1/customers"))["data"]

    await asyncio.gather(
        *(erase(office, body) for body in ({"phone": "+15145550100"}, {"customer_id": customer["id"]}))
    )

    trail = await tenant.service.audited(tenant.id, "customer.erased", "customer.erased")
    given = sorted((one.after or {})["given"] for one in trail)
    assert given == [["customer_id"], ["phone"]]
    assert sum((one.after or {})["jobs_erased"] for one in trail) == 1
    assert customer["id"] not in str(trail)
    assert_nothing_personal(*trail)


async def erase(caller: Api, body: dict[str, str]) -> None:
    document(await caller.post("/v1/customers/erase", body))


def assert_nothing_personal(*trail: AuditState) -> None:
    """Nothing of the customer of `smallest_job` is in these audit events."""
    assert not [word for word in ("Ada", "5145550100", "Sherbrooke") if word in str(trail)]


async def test_without_the_topic_audit_events_wait_and_hold_nothing_up(backing: BackingStack) -> None:
    async with running(backing, without_topics=[audit.TOPIC]) as service:
        tenant = await service.create_tenant()
        merchant = await tenant.create_merchant()
        first = await merchant.api.create_job()

        exported = await merchant.api.get("/v1/job-exports")
        made = [await merchant.api.create_job() for _ in range(20)]

        assert exported.status_code == 200
        published = await service.published(tenant, 21)
        assert {event.subject for event in published} == {job["id"] for job in [first, *made]}
        await make_topics(backing.kafka_bootstrap, service.settings.kafka_prefix)
        await service.audited(tenant.id, "jobs.exported")
