"""Signed webhooks: to the endpoints of the right locations, again until they are accepted, traceable from the request on."""

import secrets
from typing import Any

from standardwebhooks import Webhook

from tests.harness.bodies import smallest_job
from tests.harness.people import Tenant
from tests.harness.receiver import Receiver
from tests.harness.suite import Suite
from tests.harness.waiting import eventually


async def test_a_job_is_delivered_signed_to_its_endpoint(tenant: Tenant, receiver: Receiver) -> None:
    endpoint = await tenant.create_endpoint(receiver.url("/hook"), event_types=["job.created"])
    api = await (await tenant.create_merchant()).reveal()

    made = (await api.at("jobs").post("/v1/jobs", smallest_job(reference_id="A-1"))).json()
    request = await receiver.next_request()

    verified: Any = Webhook(endpoint["secret"]).verify(request.body, {k.lower(): v for k, v in request.headers.items()})
    assert verified["type"] == "job.created"
    assert verified["data"]["tenant_id"] == tenant.id
    assert verified["data"]["sequence"] == 1
    assert verified["data"]["location_ids"] == [tenant.default_location]
    assert verified["data"]["job"]["id"] == made["id"]
    assert verified["data"]["job"]["reference_id"] == "A-1"


async def test_a_job_is_delivered_only_to_its_own_location(tenant: Tenant, receiver: Receiver) -> None:
    montreal, toronto = await tenant.create_locations("Montreal", "Toronto")
    await tenant.create_endpoint(receiver.url("/montreal"), location_ids=[montreal])
    await tenant.create_endpoint(receiver.url("/all"))
    api = await (await tenant.create_merchant(location_ids=[montreal, toronto])).reveal()

    await api.at("jobs").create("/v1/jobs", smallest_job(location_id=toronto))
    made = await api.at("jobs").create("/v1/jobs", smallest_job(location_id=montreal))
    await receiver.wait_for(lambda: len(receiver.at("/all")) == 2 and len(receiver.at("/montreal")) >= 1)

    assert [request.json()["data"]["job"]["id"] for request in receiver.at("/montreal")] == [made["id"]]


async def test_another_tenants_endpoint_hears_nothing(suite: Suite, tenant: Tenant, receiver: Receiver) -> None:
    stranger = await suite.create_tenant()
    await stranger.create_endpoint(receiver.url("/stranger"))
    await tenant.create_endpoint(receiver.url("/own"))

    await (await (await tenant.create_merchant()).reveal()).at("jobs").create("/v1/jobs", smallest_job())
    await receiver.wait_for(lambda: len(receiver.at("/own")) == 1)

    assert receiver.at("/stranger") == []


async def test_a_refused_delivery_comes_again_with_the_same_id_and_body(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500 if receiver.count < 3 else 200
    endpoint = await tenant.create_endpoint(receiver.url("/flaky"))

    await (await (await tenant.create_merchant()).reveal()).at("jobs").create("/v1/jobs", smallest_job())
    await receiver.wait_for(lambda: receiver.count == 3, timeout_seconds=20)

    assert len({request.webhook_id for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1

    async def delivered() -> dict[str, Any] | None:
        path = f"/v1/deliveries?endpoint_id={endpoint['id']}"
        listed = (await tenant.owner.at("webhooks").read(path))["data"]
        return listed[0] if listed and listed[0]["status"] == "delivered" else None

    delivery = await eventually(delivered, what="the delivery is marked as delivered")
    detail = await tenant.owner.at("webhooks").read(f"/v1/deliveries/{delivery['id']}")
    assert [attempt["response_status"] for attempt in detail["attempts"]] == [500, 500, 200]


async def test_a_trace_goes_from_the_request_to_the_webhook(tenant: Tenant, receiver: Receiver) -> None:
    await tenant.create_endpoint(receiver.url("/traced"))
    api = await (await tenant.create_merchant()).reveal()
    trace_id = secrets.token_hex(16)

    headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    answer = await api.at("jobs").post("/v1/jobs", smallest_job(), headers=headers)

    assert answer.status_code == 201
    assert (await receiver.next_request()).headers["traceparent"].split("-")[1] == trace_id


async def test_a_repeated_request_makes_one_job_and_one_webhook(tenant: Tenant, receiver: Receiver) -> None:
    await tenant.create_endpoint(receiver.url("/once"))
    api = await (await tenant.create_merchant()).reveal()
    headers = {"Idempotency-Key": secrets.token_hex(8)}

    first = await api.at("jobs").post("/v1/jobs", smallest_job(), headers=headers)
    again = await api.at("jobs").post("/v1/jobs", smallest_job(), headers=headers)
    marker = await api.at("jobs").create("/v1/jobs", smallest_job(reference_id="marker"))
    await receiver.wait_for(lambda: any(r.json()["data"]["job"]["id"] == marker["id"] for r in receiver.requests))

    assert again.headers["idempotency-replayed"] == "true"
    assert first.json() == again.json()
    assert {r.json()["data"]["job"]["id"] for r in receiver.requests} == {first.json()["id"], marker["id"]}
