"""Tenants: created with owner and default location, updated, limited, and isolated from each other."""

import asyncio
from collections.abc import Callable
from typing import Any

from identity.app import create_app
from tests.harness.bodies import email, location_body, merchant_body, staff_body, tenant_body, unique
from tests.harness.client import document, pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant
from tests.harness.services import serve


async def test_a_tenant_is_made_with_its_owner_and_default_location(identity: Identity) -> None:
    made = await identity.platform.create("/v1/tenants", tenant_body(unique("Livraisons"), trial_days=30))

    assert (made["test"], made["livemode"], made["status"], made["version"]) == (True, False, "active", 1)
    assert (made["owner"]["kind"], made["owner"]["id"]) == ("owner", made["owner_id"])
    assert (made["default_location"]["is_default"], made["default_location"]["active"]) == (True, True)
    (created,) = await identity.events(made["id"], "tenant.created")
    assert (created.tenant_id, created.data.trial_days, created.data.test) == (made["id"], 30, True)
    await identity.events(made["owner"]["id"], "user.created")
    await identity.events(made["default_location"]["id"], "location.created")
    found = await identity.platform.read(f"/v1/tenants/{made['id']}")
    assert found == {name: made[name] for name in found}


async def test_a_name_is_unique_in_any_case(identity: Identity) -> None:
    name = unique("Straße")
    made = await identity.platform.create("/v1/tenants", tenant_body(name))

    answer = await identity.platform.post("/v1/tenants", tenant_body(name.upper()))

    assert refused(answer, 409, "name_taken")["existing_id"] == made["id"]
    raced = unique("Race")
    answers = await asyncio.gather(*(identity.platform.post("/v1/tenants", tenant_body(raced)) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_everything_wrong_with_a_tenant_is_answered_at_once(identity: Identity) -> None:
    body = tenant_body("", country="Canada", timezone="Mars/Olympus", currency="cad", extra=1)

    problem = refused(await identity.platform.post("/v1/tenants", body), 422, "invalid")

    assert set(pointers(problem)) == {"/name", "/country", "/timezone", "/currency", "/extra"}


async def test_a_test_key_sees_and_makes_test_tenants_only(identity: Identity, tenant: Tenant) -> None:
    live = await identity.live_platform.create("/v1/tenants", tenant_body(unique("Real")))

    refused(
        await identity.platform.post("/v1/tenants", tenant_body(unique("Real"), test=False)), 403, "livemode_required"
    )
    refused(await identity.platform.get(f"/v1/tenants/{live['id']}"), 404, "tenant_not_found")
    refused(await identity.platform.post(f"/v1/tenants/{live['id']}/suspend"), 404, "tenant_not_found")
    assert live["livemode"] is True
    listed = (await identity.platform.read("/v1/tenants?limit=200"))["data"]
    assert {one["livemode"] for one in listed} == {False}
    assert (await identity.live_platform.get(f"/v1/tenants/{tenant.id}")).status_code == 200


async def test_platform_routes_are_closed_to_owners(tenant: Tenant) -> None:
    refused(await tenant.owner.get("/v1/tenants"), 403, "permission_missing")
    refused(await tenant.owner.post("/v1/tenants", {}), 403, "permission_missing")


async def test_job_review_is_on_only_where_it_was_requested(identity: Identity) -> None:
    plain = await identity.platform.create("/v1/tenants", tenant_body(unique("Plain")))
    careful = await identity.platform.create("/v1/tenants", tenant_body(unique("Careful"), job_review=True))

    assert (plain["job_review"], careful["job_review"]) == (False, True)
    for made in (plain, careful):
        (created,) = await identity.events(made["id"], "tenant.created")
        assert created.data.job_review is made["job_review"]


async def test_an_administrator_changes_the_tenant_field_by_field(identity: Identity, tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings.tenant.write")
    name = unique("Laurier")

    reviewed = document(await clerk.patch("/v1/tenant", {"job_review": True}))
    renamed = document(await clerk.patch("/v1/tenant", {"name": name, "timezone": "America/Toronto"}))
    unchanged = document(await clerk.patch("/v1/tenant", {"name": name, "job_review": True}))

    assert (reviewed["job_review"], reviewed["name"], reviewed["version"]) == (True, tenant.name, 2)
    assert (renamed["job_review"], renamed["name"], renamed["timezone"]) == (True, name, "America/Toronto")
    assert unchanged == renamed == await tenant.owner.read("/v1/tenant")
    first, second = (await identity.events(tenant.id, "tenant.created", "tenant.updated", "tenant.updated"))[1:]
    assert (first.sequence, first.data.job_review, first.data.name) == (2, True, tenant.name)
    assert (second.sequence, second.data.job_review, second.data.name) == (3, True, name)
    assert (await identity.platform.read("/v1/auth/test", headers={"X-Tenant-Name": name}))["tenant_id"] == tenant.id
    trail = (await tenant.owner.read(f"/v1/audit-events?target={tenant.id}&action=tenant.updated"))["data"]
    assert (trail[1]["before"], trail[1]["after"]) == ({"job_review": False}, {"job_review": True})
    assert trail[1]["actor"] == clerk.subject_id


async def test_a_stale_or_invalid_change_of_the_tenant_is_refused(tenant: Tenant) -> None:
    etag = (await tenant.owner.get("/v1/tenant")).headers["etag"]
    document(await tenant.owner.patch("/v1/tenant", {"job_review": True}, headers={"If-Match": etag}))

    refused(
        await tenant.owner.patch("/v1/tenant", {"job_review": False}, headers={"If-Match": etag}),
        412,
        "precondition_failed",
    )
    wrong = {"name": "", "timezone": "Mars/Olympus", "job_review": None, "currency": "EUR"}
    problem = refused(await tenant.owner.patch("/v1/tenant", wrong), 422, "invalid")
    assert set(pointers(problem)) == {"/name", "/timezone", "/job_review", "/currency"}
    assert (await tenant.owner.read("/v1/tenant"))["job_review"] is True


async def test_changing_the_tenant_is_closed_to_those_without_the_permission_and_to_merchants(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    clerk = await tenant.create_staff("orders", "settings.merchants.write")
    asked = {"job_review": True}

    assert refused(await clerk.patch("/v1/tenant", asked), 403, "permission_missing")["required"] == [
        "settings.tenant.write"
    ]
    for person in (await merchant.session(), await merchant.reveal()):
        refused(await person.patch("/v1/tenant", asked), 403, "credential_not_admitted")
    refused(await tenant.owner.patch(f"/v1/tenants/{tenant.id}", asked), 403, "permission_missing")
    assert (await tenant.owner.read("/v1/tenant"))["job_review"] is False


async def test_a_taken_name_does_not_tell_whose_it_is(identity: Identity, tenant: Tenant) -> None:
    other = await identity.create_tenant()

    taken = await tenant.owner.patch("/v1/tenant", {"name": other.name})

    refused(taken, 409, "name_taken")
    assert other.id not in taken.text


async def test_the_platform_changes_the_tenants_of_its_mode(identity: Identity, tenant: Tenant) -> None:
    live = await identity.live_platform.create("/v1/tenants", tenant_body(unique("Real")))
    path = f"/v1/tenants/{tenant.id}"

    changed = document(await identity.platform.patch(path, {"job_review": True, "name": tenant.name.upper()}))
    taken = await identity.platform.patch(path, {"name": live["name"].lower()})

    assert (changed["job_review"], changed["name"], changed["version"]) == (True, tenant.name.upper(), 2)
    assert refused(taken, 409, "name_taken")["existing_id"] == live["id"]
    refused(await identity.platform.patch(f"/v1/tenants/{live['id']}", {"job_review": True}), 404, "tenant_not_found")
    trail = (await tenant.owner.read(f"/v1/audit-events?target={tenant.id}&action=tenant.updated"))["data"]
    assert [one["actor_kind"] for one in trail] == ["platform"]


async def test_rows_of_another_tenant_do_not_exist(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(api_access=False)
    stranger = (await identity.create_tenant()).owner

    for path, code in (
        (f"/v1/merchants/{merchant.id}", "merchant_not_found"),
        (f"/v1/locations/{tenant.default_location}", "location_not_found"),
        (f"/v1/staff/{tenant.document['owner']['id']}", "user_not_found"),
    ):
        refused(await stranger.get(path), 404, code)
        refused(await stranger.patch(path, {}), 404, code)
    refused(await stranger.get("/v1/merchants/loc_01h455vb4pex5vsknk084sn02q"), 422, "invalid")


async def test_a_tenant_has_at_most_as_many_records_as_the_limits_say(identity: Identity, tenant: Tenant) -> None:
    small = identity.settings.model_copy(
        update={"locations_max": 2, "merchants_max": 1, "staff_max": 2, "api_keys_max": 1}
    )
    async with serve(Identity, create_app, small) as service:
        owner = await service.log_in(tenant.id, tenant.owner_email)
        bodies: dict[str, Callable[[], dict[str, Any]]] = {
            "/v1/locations": lambda: {"name": "Laval"},
            "/v1/merchants": lambda: merchant_body(tenant.default_location),
            "/v1/staff": lambda: {"email": email(), "first_name": "A", "last_name": "B", "permissions": []},
            "/v1/api-keys": lambda: {"name": "ERP", "scopes": ["orders"]},
        }
        for path, body in bodies.items():
            await owner.create(path, body())
            assert refused(await owner.post(path, body()), 409, "limit_reached")["maximum"] in (1, 2)


async def test_an_answer_says_where_the_record_is_that_it_made(identity: Identity, tenant: Tenant) -> None:
    for path, body in (
        ("/v1/locations", location_body()),
        ("/v1/merchants", merchant_body(tenant.default_location)),
        ("/v1/staff", staff_body("orders")),
    ):
        made = await tenant.owner.post(path, body)
        assert made.headers["Location"] == f"{path}/{document(made, 201)['id']}"
        assert (await tenant.owner.read(made.headers["Location"]))["id"] == made.json()["id"]
