"""Endpoints through the API: permissions, validation, what is shown and what is published."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from shared.events import webhooks as webhook_events
from shared.ids import new_id, to_uuid
from tests.harness.access import REVOKE_SESSIONS, TAKE_PERMISSIONS, change_unannounced
from tests.harness.client import refused
from tests.harness.people import LONG_AGO, subscription
from tests.harness.services import open_database
from tests.harness.waiting import eventually
from tests.harness.webhooks import Tenant, Webhooks

PATH = "/v1/webhook-endpoints"
README = Path(__file__).parents[2] / "services/webhooks/README.md"


async def test_an_endpoint_is_made_shown_changed_and_deleted(tenant: Tenant) -> None:
    location = await tenant.create_location()
    made = await tenant.create_endpoint(
        "https://example.com/a",
        description="Orders",
        event_types=["job.created", "job.*", "job.created"],
        location_ids=[location],
        headers={"X-Source": "waybill"},
    )
    path = f"{PATH}/{made['id']}"

    assert made["object"] == "webhook_endpoint"
    assert made["id"].startswith("ep_")
    assert made["secret"].startswith("whsec_")
    assert made["event_types"] == ["job.created", "job.*"]
    assert made["location_ids"] == [location]
    assert (made["version"], made["enabled"], made["livemode"]) == (1, True, True)
    read = await tenant.owner.get(path)
    assert read.json() == {name: value for name, value in made.items() if name != "secret"}
    assert read.headers["etag"] == '"1"'

    changed = await tenant.owner.patch(path, {"location_ids": "*", "headers": {"x-source": None, "X-B": "c"}})
    assert changed.status_code == 200, changed.text
    assert changed.json()["location_ids"] == "*"
    assert changed.json()["headers"] == {"X-B": "c"}
    assert changed.json()["description"] == "Orders"
    assert changed.json()["version"] == 2
    unchanged = await tenant.owner.patch(path, {"location_ids": "*"})
    assert unchanged.json()["version"] == 2

    assert (await tenant.owner.delete(path)).status_code == 204
    assert (await tenant.owner.delete(path)).status_code == 204
    for method, suffix in (("GET", ""), ("PATCH", ""), ("GET", "/secret"), ("POST", "/enable")):
        more: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
        assert (await tenant.owner.request(method, path + suffix, **more)).status_code == 404
    assert (await tenant.owner.read(PATH))["data"] == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [(REVOKE_SESSIONS, (401, "session_revoked")), (TAKE_PERMISSIONS, (403, "permission_missing"))],
)
async def test_access_that_ends_between_the_decision_and_the_write_stops_the_write(
    service: Webhooks, tenant: Tenant, change: str, expected: tuple[int, str]
) -> None:
    kept = await tenant.create_endpoint()
    clerk = await tenant.create_staff("settings.webhooks.read", "settings.webhooks.write")
    assert (await clerk.get(f"{PATH}/{kept['id']}")).status_code == 200
    user_id = (await clerk.read("/v1/auth/test"))["subject_id"]
    body = {"url": "https://example.com/b", "event_types": ["*"], "location_ids": "*"}

    await change_unannounced(service.settings.database_url, change, to_uuid(user_id))
    answers = [
        await clerk.post(PATH, body),
        await clerk.patch(f"{PATH}/{kept['id']}", {"description": "mine"}),
        await clerk.get(f"{PATH}/{kept['id']}/secret"),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [expected] * 3
    assert [one["description"] for one in (await tenant.owner.read(PATH))["data"]] == [kept["description"]]


async def test_an_older_version_is_not_overwritten(tenant: Tenant) -> None:
    path = f"{PATH}/{(await tenant.create_endpoint())['id']}"
    await tenant.owner.patch(path, {"description": "first"}, headers={"If-Match": '"1"'})

    late = await tenant.owner.patch(path, {"description": "second"}, headers={"If-Match": '"1"'})
    late_deletion = await tenant.owner.delete(path, headers={"If-Match": '"1"'})

    assert (late.status_code, late_deletion.status_code) == (412, 412)
    assert (await tenant.owner.read(path))["description"] == "first"


async def test_enabling_and_disabling_say_why(tenant: Tenant) -> None:
    path = f"{PATH}/{(await tenant.create_endpoint())['id']}"

    disabled = (await tenant.owner.post(f"{path}/disable")).json()
    again = (await tenant.owner.post(f"{path}/disable")).json()
    enabled = (await tenant.owner.post(f"{path}/enable")).json()

    assert (disabled["enabled"], disabled["disabled_reason"], disabled["version"]) == (False, "requested", 2)
    assert again == disabled
    assert (enabled["enabled"], enabled["disabled_reason"], enabled["version"]) == (True, None, 3)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"url": "https://10.0.0.1"}, "/url", "url_not_public"),
        ({"url": "https://user:pw@example.com"}, "/url", "url_userinfo"),
        ({"url": ""}, "/url", "string_too_short"),
        ({"event_types": []}, "/event_types", "too_short"),
        ({"event_types": ["job.created", "Job"]}, "/event_types/1", "event_type_form"),
        ({"event_types": ["*", "job.creatd"]}, "/event_types/1", "event_type_unknown"),
        ({"event_types": ["jobs.*"]}, "/event_types/0", "event_type_unknown"),
        ({"event_types": ["job.created.*"]}, "/event_types/0", "event_type_unknown"),
        ({"event_types": ["endpoint.*"]}, "/event_types/0", "event_type_unknown"),
        ({"event_types": ["webhook.test"]}, "/event_types/0", "event_type_unknown"),
        ({"location_ids": []}, "/location_ids", "too_short"),
        ({"location_ids": None}, "/location_ids", "locations_missing"),
        ({"location_ids": "all"}, "/location_ids", "list_type"),
        ({"location_ids": ["mer_01h455vb4pex5vsknk084sn02q"]}, "/location_ids/0", "id_kind"),
        ({"headers": {"Host": "x"}}, "/headers/Host", "header_reserved"),
        ({"headers": {"X-A": 5}}, "/headers/X-A", "string_type"),
        ({"secret": "whsec_x"}, "/secret", "extra_forbidden"),
    ],
)
async def test_every_violation_is_named(tenant: Tenant, change: dict[str, Any], pointer: str, code: str) -> None:
    body = {"url": "https://example.com", "event_types": ["*"], "location_ids": "*"}
    refused = await tenant.owner.post(PATH, {**body, **change})
    endpoint = await tenant.create_endpoint()
    refused_change = await tenant.owner.patch(f"{PATH}/{endpoint['id']}", change)

    for answer in (refused, refused_change):
        assert answer.status_code == 422, answer.text
        assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [(pointer, code)]


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("job.creatd", "job.created"),
        ("job.canceled", "job.cancelled"),
        ("jobs.*", "job.*"),
        ("jobs.created", "job.created"),
        ("actions.*", "action.*"),
        ("action.outcome", "action.outcome_recorded"),
    ],
)
async def test_an_unknown_event_type_is_refused_with_the_nearest_one(tenant: Tenant, wanted: str, nearest: str) -> None:
    body = {"url": "https://example.com", "event_types": [wanted], "location_ids": "*"}

    answer = await tenant.owner.post(PATH, body)

    assert answer.status_code == 422
    assert f"did you mean {nearest}?" in answer.json()["errors"][0]["message"]


async def test_null_removes_a_header_all_headers_or_the_description(tenant: Tenant) -> None:
    made = await tenant.create_endpoint(headers={"X-A": "1", "X-B": "1"}, description="Shop", enabled=False)
    path = f"{PATH}/{made['id']}"

    one = (await tenant.owner.patch(path, {"headers": {"x-a": None, "X-C": "1"}})).json()
    cleared = (await tenant.owner.patch(path, {"headers": None, "description": None})).json()

    assert (one["headers"], one["description"], one["enabled"]) == ({"X-B": "1", "X-C": "1"}, "Shop", False)
    assert (cleared["headers"], cleared["description"], cleared["enabled"]) == ({}, "", False)


async def test_locations_must_be_named_or_explicitly_all(tenant: Tenant) -> None:
    answer = await tenant.owner.post(PATH, {"url": "https://example.com", "event_types": ["*"]})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/location_ids"


async def test_a_location_of_another_tenant_is_unknown(service: Webhooks, tenant: Tenant) -> None:
    own = await tenant.create_location()
    foreign = await (await service.create_tenant()).create_location()
    body = {"url": "https://example.com", "event_types": ["*"], "location_ids": [own, foreign, new_id("loc")]}

    answer = await tenant.owner.post(PATH, body)

    assert answer.status_code == 422
    found = [(one["pointer"], one["code"]) for one in answer.json()["errors"]]
    assert found == [("/location_ids/1", "location_unknown"), ("/location_ids/2", "location_unknown")]


async def test_a_tenant_has_a_limit_of_endpoints(tenant: Tenant) -> None:
    limit = tenant.service.settings.endpoints_max
    made = [await tenant.create_endpoint() for _ in range(limit)]
    body = {"url": "https://example.com", "event_types": ["*"], "location_ids": "*"}

    beyond = await tenant.owner.post(PATH, body)
    await tenant.owner.delete(f"{PATH}/{made[0]['id']}")
    again = await tenant.owner.post(PATH, body)

    assert (beyond.status_code, beyond.json()["code"]) == (409, "endpoint_limit_reached")
    assert again.status_code == 201


async def test_a_tenant_has_as_many_endpoints_as_its_plan_includes(service: Webhooks, tenant: Tenant) -> None:
    kept = [await tenant.create_endpoint() for _ in range(2)]
    later = datetime.now(UTC) + timedelta(days=1)
    await service.publish_access(subscription(tenant.id, later, sequence=2, webhook_endpoints=1))
    body = {"url": "https://example.com", "event_types": ["*"], "location_ids": "*"}

    beyond = await tenant.owner.post(PATH, body)
    await service.publish_access(subscription(tenant.id, later, sequence=3, webhook_endpoints=3))
    more = await tenant.owner.post(PATH, body)

    assert refused(beyond, 409, "plan_limit_reached")["maximum"] == 1
    assert more.status_code == 201
    # What the tenant had before its plan included less goes on.
    assert all(endpoint["enabled"] for endpoint in kept)


async def test_endpoints_are_listed_page_by_page(tenant: Tenant) -> None:
    made = [(await tenant.create_endpoint())["id"] for _ in range(3)]

    first = await tenant.owner.read(f"{PATH}?limit=2")
    second = await tenant.owner.read(f"{PATH}?limit=2&cursor={first['next_cursor']}")

    assert [one["id"] for one in first["data"] + second["data"]] == made[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


async def test_a_repeated_creation_makes_one_endpoint(tenant: Tenant) -> None:
    body = {"url": "https://example.com", "event_types": ["*"], "location_ids": "*"}
    headers = {"Idempotency-Key": "one"}

    first = await tenant.owner.post(PATH, body, headers=headers)
    again = await tenant.owner.post(PATH, body, headers=headers)

    assert first.headers["cache-control"] == "no-store"
    assert (again.status_code, again.json()["code"]) == (409, "already_created")
    assert again.json()["existing_id"] == first.json()["id"]
    assert first.json()["secret"] not in again.text
    assert len((await tenant.owner.read(PATH))["data"]) == 1


async def test_a_secret_is_shown_to_those_who_may_write_and_the_audit_trail_says_so(tenant: Tenant) -> None:
    made = await tenant.create_endpoint()
    reader = await tenant.create_staff("settings.webhooks.read")
    writer = await tenant.create_staff("settings.webhooks.write")
    path = f"{PATH}/{made['id']}/secret"

    long_ago = tenant.service.people.session(tenant.id, writer.subject_id, stepped_up_at=LONG_AGO)

    refused = await reader.get(path)
    not_again = await long_ago.get(path)
    shown = await writer.get(path)

    assert (refused.status_code, refused.json()["code"]) == (403, "permission_missing")
    assert (not_again.status_code, not_again.json()["code"]) == (403, "step_up_required")
    assert shown.json()["secret"] == made["secret"]
    assert shown.headers["cache-control"] == "no-store"
    _, revealed = await tenant.service.audited(made["id"], "endpoint.created", "endpoint.secret_revealed")
    assert (revealed.actor, revealed.actor_kind) == (writer.subject_id, "staff")


async def test_values_of_headers_are_hidden_from_readers(tenant: Tenant) -> None:
    made = await tenant.create_endpoint(headers={"Authorization": "Bearer sesame"})
    reader = await tenant.create_staff("settings.webhooks.read")

    seen = await reader.read(f"{PATH}/{made['id']}")

    assert made["headers"] == {"Authorization": "Bearer sesame"}
    assert seen["headers"] == {"Authorization": "[hidden]"}


async def test_secrets_are_encrypted_in_the_database_and_in_no_log_and_no_event(tenant: Tenant) -> None:
    with capture_logs() as logged:
        made = await tenant.create_endpoint(headers={"X-Token": "sesame-open-sesame"})
        await tenant.owner.patch(f"{PATH}/{made['id']}", {"description": "changed"})
        await tenant.owner.get(f"{PATH}/{made['id']}/secret")
    database = open_database(tenant.service.settings.database_url)
    async with database.reading() as session:
        rows = (await session.execute(text("SELECT * FROM endpoints WHERE tenant_id IS NOT NULL"))).mappings().all()
        sent = list((await session.execute(text("SELECT value FROM outbox"))).scalars())
    await database.close()

    everything = repr(logged) + repr(rows) + repr(sent)
    assert made["secret"] not in everything
    assert made["secret"].removeprefix("whsec_") not in everything
    assert "sesame" not in everything


async def test_merchants_have_no_access(tenant: Tenant) -> None:
    endpoint = await tenant.create_endpoint()
    merchant = await tenant.create_merchant()
    session = await merchant.session()
    body = {"url": "https://example.com", "event_types": ["*"], "location_ids": "*"}
    one = f"{PATH}/{endpoint['id']}"

    for caller in (merchant.api, session):
        for method, path, more in (
            ("GET", PATH, {}),
            ("POST", PATH, {"json": body}),
            ("GET", one, {}),
            ("PATCH", one, {"json": {"enabled": False}}),
            ("DELETE", one, {}),
            ("GET", f"{one}/secret", {}),
            ("POST", f"{one}/enable", {}),
            ("POST", f"{one}/disable", {}),
            ("GET", "/v1/deliveries", {}),
            ("GET", f"/v1/deliveries/{new_id('dlv')}", {}),
        ):
            answer = await caller.request(method, path, **more)
            assert answer.status_code == 403, f"{method} {path}: {answer.text}"
            assert answer.json()["code"] == "credential_not_admitted"


async def test_staff_needs_the_permission_of_each_route(tenant: Tenant) -> None:
    endpoint = await tenant.create_endpoint()
    nobody = await tenant.create_staff("orders")
    reader = await tenant.create_staff("settings.webhooks.read")
    one = f"{PATH}/{endpoint['id']}"

    assert (await nobody.get(one)).status_code == 403
    assert (await reader.get(one)).status_code == 200
    assert (await reader.patch(one, {"enabled": False})).status_code == 403
    assert (await nobody.get("/v1/deliveries")).status_code == 403
    assert (await reader.get("/v1/deliveries")).status_code == 200


async def test_another_tenants_endpoint_does_not_exist(service: Webhooks, tenant: Tenant) -> None:
    endpoint = await tenant.create_endpoint()
    stranger = await service.create_tenant()
    one = f"{PATH}/{endpoint['id']}"

    attempts: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", one, {}),
        ("PATCH", one, {"json": {"enabled": False}}),
        ("DELETE", one, {}),
        ("GET", f"{one}/secret", {}),
        ("POST", f"{one}/disable", {}),
    ]
    for method, path, more in attempts:
        assert (await stranger.owner.request(method, path, **more)).status_code == 404
    assert (await stranger.owner.read(PATH))["data"] == []
    assert (await tenant.owner.read(one))["version"] == 1


async def test_test_mode_sees_its_own_endpoints_alone(tenant: Tenant) -> None:
    live = await tenant.create_endpoint()
    tester = await tenant.create_staff(kind="owner", livemode=False)
    body = {"url": "https://example.com", "event_types": ["*"], "location_ids": "*"}
    made = (await tester.post(PATH, body)).json()

    assert made["livemode"] is False
    assert [one["id"] for one in (await tester.read(PATH))["data"]] == [made["id"]]
    assert [one["id"] for one in (await tenant.owner.read(PATH))["data"]] == [live["id"]]
    assert (await tester.get(f"{PATH}/{live['id']}")).status_code == 404


async def test_every_change_is_published(tenant: Tenant) -> None:
    endpoint = await tenant.create_endpoint()
    one = f"{PATH}/{endpoint['id']}"
    await tenant.owner.patch(one, {"event_types": ["job.created"]})
    await tenant.owner.post(f"{one}/disable")
    await tenant.owner.post(f"{one}/enable")
    await tenant.owner.delete(one)

    published = await tenant.service.published(webhook_events.TOPIC, endpoint["id"], count=5)

    assert [headers["ce_type"] for headers, _ in published] == [
        "endpoint.created",
        "endpoint.updated",
        "endpoint.disabled",
        "endpoint.updated",
        "endpoint.deleted",
    ]
    assert [headers["ce_sequence"] for headers, _ in published] == ["1", "2", "3", "4", "5"]
    assert json.loads(published[2][1])["reason"] == "requested"


async def test_the_readme_lists_every_route_and_who_may_call_it(service: Webhooks) -> None:
    document = (await service.client.get("/openapi.json")).json()
    of_every_service = {"/v1/auth/test", "/v1/permissions"}

    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        if path not in of_every_service
        for method, operation in methods.items()
    }

    rows = re.findall(r"^\| `([A-Z]+ /v1[^`]*)` \| `([^`]+)` \|$", README.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted((route, one["x-required-permission"]) for route, one in operations.items())
    admitted = {kind for one in operations.values() for kind in one["x-admits"]}
    assert admitted & {"pair", "merchant_session"} == set()


async def test_the_service_says_that_it_is_ready(service: Webhooks) -> None:
    async def ready() -> bool:
        return (await service.client.get("/readyz")).status_code == 200

    await eventually(ready, what="ready")
    exposed = (await service.client.get("/metrics")).text
    assert "waybill_webhook_in_flight" in exposed
    assert "waybill_webhook_due" in exposed


def test_what_is_published_of_an_endpoint_has_no_secret() -> None:
    assert set(webhook_events.EndpointState.model_fields).isdisjoint({"secret", "headers", "secrets"})
