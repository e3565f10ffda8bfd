"""From Kafka to receivers: each matching endpoint gets exactly one delivery, even if Kafka repeats a record."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from shared.events import jobs
from shared.ids import new_id, to_uuid
from tests.harness.receiver import Receiver
from tests.harness.waiting import eventually
from tests.harness.webhooks import DeliveryHarness, Tenant, Webhooks, headers_of, incoming_event, job_created, typed
from webhooks.events import consumer
from webhooks.events.fan_out import store_and_route
from webhooks.postgres.autocommit import AutocommitConnection

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_job_arrives_signed_with_its_own_data(tenant: Tenant, receiver: Receiver) -> None:
    endpoint = await tenant.create_endpoint(receiver.url())
    location = new_id("loc")

    event = await tenant.publish_job(location)
    request = await receiver.next_request()

    headers = {name.lower(): value for name, value in request.headers.items()}
    verified: Any = Webhook(endpoint["secret"]).verify(request.body, headers)
    assert headers["webhook-id"] == event.id
    assert list(verified) == ["type", "timestamp", "data"]
    assert verified["type"] == "job.created"
    assert datetime.fromisoformat(verified["timestamp"]) == event.time
    assert verified["data"] == json.loads(event.value())
    assert verified["data"]["location_ids"] == [location]
    # The data are passed on unchanged, byte for byte.
    assert request.body.endswith(b'"data":' + event.value() + b"}")


async def test_an_endpoint_gets_events_only_of_its_locations_types_and_tenant(
    service: Webhooks, tenant: Tenant, receiver: Receiver
) -> None:
    montreal, toronto = await tenant.create_location(), await tenant.create_location()
    stranger = await service.create_tenant()
    await stranger.create_endpoint(receiver.url("/stranger"))
    await tenant.create_endpoint(receiver.url("/montreal"), location_ids=[montreal])
    await tenant.create_endpoint(receiver.url("/prefix"), event_types=["job.*"])
    await tenant.create_endpoint(receiver.url("/exact"), event_types=["job.created"], location_ids=[montreal, toronto])
    await tenant.create_endpoint(receiver.url("/other"), event_types=["action.*", "job.deleted"])
    await tenant.create_endpoint(receiver.url("/off"), enabled=False)

    there = await tenant.publish_job(toronto)
    moved = await tenant.publish_job(toronto, montreal)
    elsewhere = await tenant.publish_job(new_id("loc"))
    await receiver.wait_for(lambda: len(receiver.at("/prefix")) == 3 and len(receiver.at("/exact")) == 2)

    await tenant.delivered(6)
    heard = {path: {one.webhook_id for one in receiver.at(path)} for path in ("/montreal", "/prefix", "/exact")}
    assert heard["/montreal"] == {moved.id}
    assert heard["/prefix"] == {there.id, moved.id, elsewhere.id}
    assert heard["/exact"] == {there.id, moved.id}
    assert receiver.count == 6


async def test_a_record_that_kafka_repeats_makes_one_delivery(tenant: Tenant, receiver: Receiver) -> None:
    await tenant.create_endpoint(receiver.url())
    event = job_created(tenant.id)

    await tenant.service.publish(event, event)
    await receiver.next_request()
    await tenant.service.publish(event)
    # After the repeated record, in the same partition.
    marker = job_created(tenant.id)
    await tenant.service.publish_record(jobs.TOPIC, event.subject, marker.headers(), marker.value())
    await receiver.wait_for(lambda: any(request.webhook_id == marker.id for request in receiver.requests))

    assert len(await tenant.delivered(2)) == 2
    assert sorted(request.webhook_id for request in receiver.requests) == sorted([event.id, marker.id])


async def test_a_batch_in_one_transaction_holds_each_event_once(harness: DeliveryHarness, receiver: Receiver) -> None:
    await harness.endpoint(receiver.url("/a"))
    await harness.endpoint(receiver.url("/b"))
    events = [job_created(harness.tenant_id) for _ in range(50)]

    await harness.publish(*events, *events[:10])
    await harness.publish(*events)

    (counts,) = await harness.rows(
        "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM deliveries), (SELECT count(*) FROM delivery_due)"
    )
    assert tuple(counts) == (50, 100, 100)


async def test_over_an_autocommit_connection_only_new_events_go_to_the_endpoints_of_that_moment(
    harness: DeliveryHarness,
) -> None:
    await harness.endpoint("http://127.0.0.1:9999/a")
    events = [job_created(harness.tenant_id) for _ in range(5)]
    autocommit = AutocommitConnection(harness.database, "test")

    async def taken_on(*some: jobs.JobCreated) -> list[str]:
        incoming_events = [incoming_event(event) for event in some]
        async with harness.database.transaction() as session:
            found = await store_and_route(
                session,
                incoming_events,
                endpoint_cache=harness.endpoint_cache,
                room=lambda _: 100,
                lease_seconds=8,
                autocommit=autocommit,
            )
        return [typed("evt", one.event.id) for one in found.leased]

    try:
        first = await taken_on(*events[:2])
        repeated = await taken_on(*events[1:3])
        soon_after = await taken_on(*events[2:4])
        await harness.endpoint("http://127.0.0.1:9999/b")
        last = await taken_on(events[4])
    finally:
        await autocommit.close()

    ids = [event.id for event in events]
    assert (first, repeated, soon_after, last) == (ids[:2], [ids[2]], [ids[3]], [ids[4]] * 2)
    assert [typed("evt", row.id) for row in await harness.rows("SELECT id FROM events ORDER BY position")] == ids
    flying = [typed("evt", event_id) for flight in await harness.batch_leases() for event_id in flight.event_ids]
    assert sorted(flying) == sorted([*ids, ids[4]])


async def test_an_event_without_a_matching_endpoint_is_stored(harness: DeliveryHarness) -> None:
    event = job_created(harness.tenant_id)

    await harness.publish(event)

    (kept,) = await harness.rows("SELECT id, body FROM events")
    assert typed("evt", kept.id) == event.id
    assert json.loads(kept.body)["data"]["job"]["id"] == event.subject
    assert await harness.queued() == []


async def test_a_test_event_goes_to_test_endpoints_alone(tenant: Tenant, receiver: Receiver) -> None:
    tester = await tenant.create_staff(kind="owner", livemode=False)
    body = {"url": receiver.url("/test"), "event_types": ["*"], "location_ids": "*"}
    assert (await tester.post("/v1/webhook-endpoints", body)).status_code == 201
    await tenant.create_endpoint(receiver.url("/live"))

    test = await tenant.publish_job(livemode=False)
    live = await tenant.publish_job(livemode=True)
    await receiver.wait_for(lambda: receiver.count == 2)

    assert [request.webhook_id for request in receiver.at("/test")] == [test.id]
    assert [request.webhook_id for request in receiver.at("/live")] == [live.id]
    assert [one["event_id"] for one in await tenant.delivered(1)] == [live.id]


async def test_the_trace_context_reaches_the_receiver(tenant: Tenant, receiver: Receiver) -> None:
    await tenant.create_endpoint(receiver.url())
    event = job_created(tenant.id)

    headers = [*event.headers(), ("traceparent", TRACEPARENT.encode())]
    await tenant.service.publish_record(jobs.TOPIC, event.subject, headers, event.value())

    assert (await receiver.next_request()).headers["traceparent"] == TRACEPARENT


async def test_an_unreadable_record_becomes_a_dead_letter_and_blocks_nothing(
    tenant: Tenant, receiver: Receiver
) -> None:
    await tenant.create_endpoint(receiver.url())
    broken = job_created(tenant.id)

    await tenant.service.publish_record(jobs.TOPIC, broken.subject, broken.headers(), b'{"location_ids": ')
    event = await tenant.publish_job()

    assert (await receiver.next_request()).webhook_id == event.id
    ((headers, value),) = await tenant.service.published(f"{jobs.TOPIC}.dlq", broken.subject, count=1)
    assert value == b'{"location_ids": '
    assert headers["dlq_consumer"] == "webhooks.fan-out"


@pytest.mark.parametrize(
    ("header", "value"),
    [("ce_tenantid", b"nobody"), ("ce_id", b"evt_"), ("ce_time", b"yesterday"), ("ce_id", b"x")],
)
def test_a_malformed_envelope_is_refused(header: str, value: bytes) -> None:
    event = job_created(new_id("ten"))
    headers = {name: content.decode() for name, content in event.headers()} | {header: value.decode()}

    with pytest.raises(ValueError, match=r"is not an id|Invalid isoformat"):
        consumer.read_event(headers, event.value())


async def test_a_failing_delivery_shows_every_attempt(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda _: 500 if receiver.count < 3 else 200
    endpoint = await tenant.create_endpoint(receiver.url())
    before = datetime.now(UTC)

    event = await tenant.publish_job()
    await receiver.wait_for(lambda: receiver.count == 3)

    async def delivered() -> dict[str, Any] | None:
        listed = await tenant.deliveries(f"?endpoint_id={endpoint['id']}&status=delivered")
        return listed[0] if listed else None

    listed = await eventually(delivered, what="the delivery is marked as delivered")
    detail = await tenant.owner.read(f"/v1/deliveries/{listed['id']}")
    assert detail["event_id"] == event.id
    assert (detail["status"], detail["attempts_made"], detail["next_attempt_at"]) == ("delivered", 3, None)
    assert [(one["number"], one["response_status"], one["result"]) for one in detail["attempts"]] == [
        (1, 500, "failed"),
        (2, 500, "failed"),
        (3, 200, "delivered"),
    ]
    assert all(one["latency_ms"] >= 0 for one in detail["attempts"])
    assert before - timedelta(seconds=1) <= datetime.fromisoformat(detail["created_at"]) <= datetime.now(UTC)


async def test_deliveries_are_filtered(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answer = lambda request: 500 if request.path == "/down" else 200
    up = await tenant.create_endpoint(receiver.url("/up"))
    down = await tenant.create_endpoint(receiver.url("/down"))
    await tenant.publish_job()

    async def ended() -> bool:
        return {one["status"] for one in await tenant.deliveries()} == {"delivered", "failed"}

    await eventually(ended, what="one is delivered, one given up")
    now = datetime.now(UTC)
    earlier = (now - timedelta(minutes=5)).isoformat().replace("+00:00", "Z")
    later = (now + timedelta(minutes=5)).isoformat().replace("+00:00", "Z")

    async def endpoints_of(query: str) -> set[str]:
        return {one["endpoint_id"] for one in await tenant.deliveries(query)}

    assert await endpoints_of("") == {up["id"], down["id"]}
    assert await endpoints_of("?status=delivered") == {up["id"]}
    assert await endpoints_of("?status=failed") == {down["id"]}
    assert await endpoints_of("?status=pending") == set()
    assert await endpoints_of(f"?endpoint_id={down['id']}") == {down["id"]}
    assert await endpoints_of("?event_type=job.created") == {up["id"], down["id"]}
    assert await endpoints_of("?event_type=job.deleted") == set()
    assert await endpoints_of(f"?created_from={earlier}&created_before={later}") == {up["id"], down["id"]}
    assert await endpoints_of(f"?created_from={later}") == set()
    assert await endpoints_of(f"?created_before={earlier}") == set()
    (failed,) = await tenant.deliveries("?status=failed")
    assert (failed["failure"], failed["cause"], failed["response_status"]) == ("exhausted", "status", 500)


async def test_another_tenants_delivery_does_not_exist(service: Webhooks, tenant: Tenant, receiver: Receiver) -> None:
    await tenant.create_endpoint(receiver.url())
    await tenant.publish_job()
    (delivery,) = await tenant.delivered(1)
    stranger = await service.create_tenant()

    assert await stranger.deliveries() == []
    assert (await stranger.owner.get(f"/v1/deliveries/{delivery['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2026-01-02T03:04:05.000006+00:00", "2026-01-02T03:04:05.000006Z"),
        ("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02 05:04:05.000006+02:00", "2026-01-02T03:04:05.000006Z"),
        ("2026-W01-5T03:04:05.000006+00:00", "2026-01-02T03:04:05.000006Z"),
    ],
)
def test_an_event_is_read_with_its_instant_and_its_id(time: str, shown: str) -> None:
    event = job_created(new_id("ten"))

    incoming = consumer.read_event({**headers_of(event), "ce_time": time}, event.value())

    assert incoming is not None
    document = json.loads(incoming.event.message.body)
    assert (document["timestamp"], document["type"]) == (shown, "job.created")
    assert document["data"] == json.loads(event.value())
    assert incoming.event.message.occurred_at == datetime.fromisoformat(shown)
    assert incoming.event.id == to_uuid(event.id)


@pytest.mark.parametrize("suffix", ["8" + "0" * 25, "0" * 25, "0" * 27, "0" * 25 + "I", "0" * 25 + "u", "0" * 25 + "_"])
def test_an_event_whose_id_is_none_is_not_read(suffix: str) -> None:
    event = job_created(new_id("ten"))

    with pytest.raises(ValueError, match="is not an id"):
        consumer.read_event({**headers_of(event), "ce_id": f"evt_{suffix}"}, event.value())
