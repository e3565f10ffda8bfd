"""What people look at before they change an endpoint, and while something fails: previews, health, the request of a delivery."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from tests.harness.receiver import Receiver
from tests.harness.servers import serving
from tests.harness.waiting import eventually
from tests.harness.webhooks import Tenant

PREVIEW = "/v1/webhook-endpoints/preview-match"


async def test_a_preview_counts_what_an_endpoint_would_have_got(tenant: Tenant) -> None:
    montreal, laval = await tenant.create_locations("Montreal", "Laval")
    for location in (montreal, montreal, laval):
        await tenant.publish_job(location)

    async def counted(wanted: dict[str, Any]) -> dict[str, Any] | None:
        answer = await tenant.owner.post(PREVIEW, wanted)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found if found["events"] == 3 else None

    at_one = await eventually(
        lambda: counted({"event_types": ["job.*"], "location_ids": [montreal]}), what="the events are stored"
    )
    everywhere = await counted({"event_types": ["*"], "location_ids": "*"})
    other_type = await counted({"event_types": ["job.deleted"], "location_ids": "*"})

    assert at_one["by_type"] == [{"event_type": "job.created", "events": 3, "matched": 2}]
    assert (at_one["matched"], at_one["is_partial"]) == (2, False)
    assert everywhere is not None
    assert other_type is not None
    assert (everywhere["matched"], other_type["matched"]) == (3, 0)


async def test_a_preview_of_an_empty_range_is_refused(tenant: Tenant) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    answer = await tenant.owner.post(PREVIEW, {"event_types": ["*"], "location_ids": "*", "since": soon})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "range_empty"


async def test_health_says_what_works_what_fails_and_what_nothing_covers(tenant: Tenant, receiver: Receiver) -> None:
    montreal, laval = await tenant.create_locations("Montreal", "Laval")

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503)

    async with serving(refuse) as broken_url:
        working = await tenant.create_endpoint(receiver.url(), location_ids=[montreal])
        failing = await tenant.create_endpoint(broken_url, location_ids=[montreal], retry_schedule_seconds=[3600])
        for _ in range(12):
            await tenant.publish_job(montreal)

        async def known() -> dict[str, Any] | None:
            found: dict[str, Any] = await tenant.owner.read("/v1/webhook-health")
            of_failing = next(one for one in found["endpoints"] if one["endpoint_id"] == failing["id"])
            of_montreal = next(one for one in found["locations"] if one["location_id"] == montreal)
            return found if of_failing["next_probe_at"] and of_montreal["deliveries"] == 24 else None

        health = await eventually(known, what="the failures are known")

    first, second = health["endpoints"]
    assert [first["endpoint_id"], second["endpoint_id"]] == [failing["id"], working["id"]]
    assert (first["state"], first["success_rate"], second["state"], second["success_rate"]) == (
        "failing",
        0.0,
        "healthy",
        1.0,
    )
    assert first["failures"] >= 10
    assert first["waiting"] >= 2
    assert sum(first["unsuccessful_by_hour"]) >= 10
    disables_after = datetime.fromisoformat(first["disables_at"]) - datetime.fromisoformat(first["failing_since"])
    assert disables_after == timedelta(days=5)
    places = {one["location_id"]: one for one in health["locations"]}
    assert sorted(places[montreal]["endpoint_ids"]) == sorted([failing["id"], working["id"]])
    assert (places[laval]["endpoint_ids"], places[laval]["deliveries"], places[laval]["success_rate"]) == ([], 0, None)
    alone = await tenant.owner.read(f"/v1/webhook-endpoints/{working['id']}/health")
    assert alone == second
    assert (await tenant.owner.get("/v1/webhook-endpoints/ep_01h455vb4pex5vsknk084sn02q/health")).status_code == 404


async def test_locations_are_listed_by_name_to_whoever_sees_webhooks(tenant: Tenant) -> None:
    laval, brossard = await tenant.create_locations("Laval", "Brossard")

    async def known() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = (await tenant.owner.read("/v1/webhook-locations"))["data"]
        return found if {laval, brossard} <= {one["location_id"] for one in found} else None

    listed = await eventually(known, what="the locations are known")

    names = [one["name"] for one in listed]
    assert names == sorted(names)
    assert {one["object"] for one in listed} == {"webhook_location"}
    assert all(one["active"] for one in listed)


async def test_the_request_of_a_delivery_is_shown_as_it_was_sent_without_secrets(
    tenant: Tenant, receiver: Receiver
) -> None:
    made = await tenant.create_endpoint(
        receiver.url("/hooks?a=b"), headers={"X-Token": "canary-of-a-header"}, sign_v1a=True
    )
    event = await tenant.publish_job(tenant.default_location, reference_id="C-1001")
    sent = await receiver.next_request()
    (listed,) = await tenant.delivered(1)

    answer = await tenant.owner.get(f"/v1/deliveries/{listed['id']}")
    shown = answer.json()
    await tenant.owner.patch(f"/v1/webhook-endpoints/{made['id']}", {"description": "changed"})
    later = await tenant.owner.read(f"/v1/deliveries/{listed['id']}")

    about = {name: listed[name] for name in ("job_id", "job_reference", "merchant_id", "location_ids")}
    assert about == {
        "job_id": event.subject,
        "job_reference": "C-1001",
        "merchant_id": event.data.job.merchant_id,
        "location_ids": [tenant.default_location],
    }
    request = shown["request"]
    assert (request["method"], request["url"]) == ("POST", made["url"])
    assert request["body"].encode() == sent.body
    assert request["body_bytes"] == len(sent.body)
    assert json.loads(request["body"])["data"]["job"]["id"] == event.subject
    hidden = {"X-Token", "webhook-signature"}
    expected = {
        name: value for name, value in sent.headers.items() if name.lower() not in {one.lower() for one in hidden}
    }
    assert {name.lower(): value for name, value in request["headers"].items() if name not in hidden} == {
        name.lower(): value for name, value in expected.items()
    }
    assert {request["headers"][name] for name in hidden} == {"[hidden]"}
    assert sent.headers["webhook-signature"] not in answer.text
    assert "canary-of-a-header" not in answer.text
    assert (request["is_exact"], later["request"]["is_exact"]) == (True, False)
