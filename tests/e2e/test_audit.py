"""One tenant's day in all four services is read through one route."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx

from shared.events.audit import TOPIC
from shared.messaging.producer import Producer, Record
from tests.harness.bodies import PASSWORD
from tests.harness.client import document
from tests.harness.people import Tenant
from tests.harness.receiver import Receiver
from tests.harness.suite import Suite
from tests.harness.transport import read_records
from tests.harness.waiting import eventually

SOON_SECONDS = 10.0
"""Bound on a busy machine for what takes a second at most."""
Act = Callable[[], Awaitable[httpx.Response]]


async def test_a_tenants_day_is_in_one_list_in_order(suite: Suite, tenant: Tenant, receiver: Receiver) -> None:
    merchant = await tenant.create_merchant()
    shop = await merchant.reveal()
    endpoint = await tenant.create_endpoint(receiver.url("/books"))
    await shop.at("jobs").create_job()
    owner, jobs = tenant.owner.at("identity"), tenant.owner.at("jobs")
    stepped_up = await tenant.owner.stepped_up()
    file = {"content": '{"contact": {}}', "headers": {"Content-Type": "application/x-ndjson"}}
    extension = {"trial_ends_at": (datetime.now(UTC) + timedelta(days=60)).isoformat()}
    wrong = {"tenant": tenant.id, "email": tenant.owner_email, "password": "not the password"}
    day: list[tuple[str, str, Act]] = [
        ("identity", "location.created", lambda: owner.post("/v1/locations", {"name": "Laval"})),
        (
            "webhooks",
            "endpoint.secret_revealed",
            lambda: stepped_up.at("webhooks").get(f"/v1/webhook-endpoints/{endpoint['id']}/secret"),
        ),
        ("jobs", "jobs.exported", lambda: shop.at("jobs").get("/v1/job-exports")),
        ("jobs", "import.created", lambda: shop.at("jobs").post("/v1/job-imports", **file)),
        ("jobs", "customer.erased", lambda: jobs.post("/v1/customers/erase", {"phone": "+15145550100"})),
        (
            "billing",
            "trial.extended",
            lambda: suite.platform.at("billing").post(f"/v1/billing/tenants/{tenant.id}/trial/extend", extension),
        ),
        ("identity", "session.refused", lambda: suite.nobody.at("identity").post("/v1/sessions", wrong)),
        (
            "webhooks",
            "endpoint.disabled",
            lambda: tenant.owner.at("webhooks").post(f"/v1/webhook-endpoints/{endpoint['id']}/disable"),
        ),
    ]
    await listed(tenant, "endpoint.created")
    before = {one["id"] for one in await trail(tenant)}

    for number, (_, action, act) in enumerate(day):
        answer = await act()
        assert answer.status_code in (200, 201, 202, 401), answer.text
        entry = await listed(tenant, action)
        assert entry["request_id"] == answer.headers["x-request-id"], number

    done = [one for one in reversed(await trail(tenant)) if one["id"] not in before]
    assert [(one["service"], one["action"]) for one in done] == [(service, action) for service, action, _ in day]
    assert [one["actor_kind"] for one in done] == [
        "owner",
        "owner",
        "merchant",
        "merchant",
        "owner",
        "platform",
        "unknown",
        "owner",
    ]
    assert all(one["address"] == "127.0.0.1" for one in done)
    assert done[2]["credential_id"] == merchant.account_id
    everything = str(await trail(tenant))
    assert not [secret for secret in (PASSWORD, endpoint["secret"], merchant.key, "5145550100") if secret in everything]


async def test_a_redelivery_of_all_audit_events_changes_nothing(
    suite: Suite, tenant: Tenant, receiver: Receiver
) -> None:
    await tenant.create_endpoint(receiver.url("/books"))
    await listed(tenant, "endpoint.created")
    before = await trail(tenant)
    bootstrap = suite.environment["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"]
    topic = f"{suite.environment['WAYBILL_KAFKA_PREFIX']}{TOPIC}"

    records = await read_records(bootstrap, topic, count=len(before))
    producer = Producer(bootstrap, client_id="tests")
    repeats = [Record(topic, record.key, record.value, list(record.headers)) for record in records]
    assert set(await producer.send(repeats)) == {None}
    await producer.close()
    await caught_up(suite)

    assert await trail(tenant) == before


async def trail(tenant: Tenant) -> list[dict[str, Any]]:
    """The tenant's audit events, newest first."""
    answer = await tenant.owner.at("identity").get("/v1/audit-events?limit=200")
    found: list[dict[str, Any]] = document(answer)["data"]
    return found


async def listed(tenant: Tenant, action: str) -> dict[str, Any]:
    """The latest audit event of this kind, once it is listed."""

    async def look() -> dict[str, Any] | None:
        return next((one for one in await trail(tenant) if one["action"] == action), None)

    return await eventually(look, seconds=SOON_SECONDS, what=f"{action} is listed")


async def caught_up(suite: Suite) -> None:
    """Wait until identity has handled all audit events that were published before."""
    connection = await asyncpg.connect(suite.databases["identity"])
    called_at = await connection.fetchval("SELECT clock_timestamp()")
    proven = "SELECT caught_up_at > $1 FROM consumer_progress WHERE consumer = 'identity.audit'"
    try:
        await eventually(lambda: connection.fetchval(proven, called_at), what="identity has caught up")
    finally:
        await connection.close()
