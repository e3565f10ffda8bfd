"""Merchants and their API access: who can have it and what ends it."""

import asyncio
from typing import Any

import asyncpg
import pytest

from shared.events.identity import MerchantState
from tests.harness.bodies import email, location_body, merchant_body
from tests.harness.client import document, pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant


@pytest.mark.parametrize("level", [1])
async def test_api_access_of_level_1_is_refused_when_creating(tenant: Tenant, level: int) -> None:
    answer = await tenant.owner.post(
        "/v1/merchants", merchant_body(tenant.default_location, level=level, api_access=True)
    )

    problem = refused(answer, 422, "invalid")
    assert problem["errors"][0]["pointer"] == "/api_access"
    assert problem["errors"][0]["code"] == "merchant_level_required"


async def test_api_access_of_level_1_is_refused_when_updating_or_granting(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(api_access=False, level=1)

    update = await tenant.owner.patch(f"/v1/merchants/{merchant.id}", {"api_access": True})
    granting = await tenant.owner.post(f"/v1/merchants/{merchant.id}/api-access")

    assert pointers(refused(update, 422, "invalid")) == ["/api_access"]
    assert refused(granting, 409, "merchant_level_required")["current_level"] == 1
    assert (await tenant.owner.read(f"/v1/merchants/{merchant.id}"))["api_access"] is False


async def test_the_toggle_works_when_creating_and_when_updating(identity: Identity, tenant: Tenant) -> None:
    created = await tenant.create_merchant()
    updated = await tenant.create_merchant(api_access=False, level=1)
    moved = document(await tenant.owner.patch(f"/v1/merchants/{updated.id}", {"level": 2, "api_access": True}))

    assert created.document["api_account_id"].startswith("acct_")
    assert moved["api_account_id"].startswith("acct_")
    events = await identity.events(created.id, "merchant.created", "api_access.granted")
    assert [event.sequence for event in events] == [1, 2]
    state: MerchantState = events[1].data
    assert state.api_access
    assert state.pair is not None
    assert state.pair.account_id == created.document["api_account_id"]
    assert not state.pair.livemode


async def test_moving_to_level_1_ends_access_and_moving_back_does_not_restore_it(
    identity: Identity, tenant: Tenant
) -> None:
    merchant = await tenant.create_merchant()
    integration = await merchant.reveal()
    assert (await integration.get("/v1/auth/test")).status_code == 200

    lowered = document(await tenant.owner.patch(f"/v1/merchants/{merchant.id}", {"level": 1}))
    revoked = await integration.get("/v1/auth/test")
    raised = document(await tenant.owner.patch(f"/v1/merchants/{merchant.id}", {"level": 2}))

    assert (lowered["api_access"], lowered["api_account_id"]) == (False, None)
    refused(revoked, 403, "api_access_off")
    assert (raised["level"], raised["api_access"]) == (2, False)
    refused(await integration.get("/v1/auth/test"), 403, "api_access_off")
    await identity.events(
        merchant.id,
        "merchant.created",
        "api_access.granted",
        "credential.revealed",
        "merchant.level_changed",
        "api_access.revoked",
        "merchant.level_changed",
    )


async def test_disabling_a_merchant_ends_its_access_and_its_sessions(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session, integration = await merchant.session(), await merchant.reveal()

    disabled = await tenant.owner.create(f"/v1/merchants/{merchant.id}/disable")
    again = await tenant.owner.create(f"/v1/merchants/{merchant.id}/disable")

    assert (disabled["status"], disabled["api_access"]) == ("disabled", False)
    assert again["version"] == disabled["version"]
    refused(await integration.get("/v1/auth/test"), 403, "api_access_off")
    assert (await session.get("/v1/tenant")).status_code == 401
    refused(
        await identity.nobody.post("/v1/sessions/refresh", {"refresh_token": session.document["refresh_token"]}),
        401,
        "refresh_token_wrong",
    )
    refused(await tenant.owner.post(f"/v1/merchants/{merchant.id}/api-access"), 409, "merchant_disabled")
    enabled = await tenant.owner.create(f"/v1/merchants/{merchant.id}/enable")
    assert (enabled["status"], enabled["api_access"]) == ("active", False)


async def test_a_new_grant_keeps_the_account_id_and_makes_a_new_key(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    first, first_key = await merchant.reveal(), merchant.key
    path = f"/v1/merchants/{merchant.id}/api-access"

    assert (await tenant.owner.delete(path)).status_code == 204
    assert (await tenant.owner.delete(path)).status_code == 204
    granted = await tenant.owner.create(path)
    repeated = await tenant.owner.create(path)
    second = await merchant.reveal()

    assert granted == repeated
    assert merchant.account_id == merchant.document["api_account_id"] == granted["api_account_id"]
    assert merchant.key != first_key
    refused(await first.get("/v1/auth/test"), 401, "credentials_wrong")
    assert (await second.get("/v1/auth/test")).status_code == 200


async def test_the_toggle_needs_its_own_permission(tenant: Tenant) -> None:
    clerk = await tenant.create_staff("settings.merchants.read", "settings.merchants.write")
    merchant = await tenant.create_merchant(api_access=False)

    creating = await clerk.post("/v1/merchants", merchant_body(tenant.default_location, api_access=True))
    updating = await clerk.patch(f"/v1/merchants/{merchant.id}", {"api_access": True})
    granting = await clerk.post(f"/v1/merchants/{merchant.id}/api-access")

    for answer in (creating, updating, granting):
        assert refused(answer, 403, "permission_missing")["required"] == ["settings.merchants.api_access"]
    assert (await clerk.patch(f"/v1/merchants/{merchant.id}", {"business_name": "Chez Sam"})).status_code == 200


async def test_api_access_does_not_end_by_another_way_than_its_permission(tenant: Tenant) -> None:
    staff = await tenant.create_staff("settings.merchants.write")
    with_access, without = await tenant.create_merchant(), await tenant.create_merchant(api_access=False)

    for merchant, status in ((with_access, 403), (without, 200)):
        path = f"/v1/merchants/{merchant.id}"
        answers = [
            await staff.patch(path, {"login_email": email()}),
            await staff.patch(path, {"level": 1}),
            await staff.post(f"{path}/disable"),
        ]
        assert [answer.status_code for answer in answers] == [status] * 3
    assert (await tenant.owner.read(f"/v1/merchants/{with_access.id}"))["api_access"] is True
    assert (await staff.patch(f"/v1/merchants/{with_access.id}", {"business_name": "Ada"})).status_code == 200


async def test_concurrent_grants_make_one_key_and_one_event(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(api_access=False)
    path = f"/v1/merchants/{merchant.id}/api-access"

    answers = await asyncio.gather(*(tenant.owner.post(path) for _ in range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["version"] for answer in answers} == {2}
    await tenant.owner.delete(path)
    await identity.events(merchant.id, "merchant.created", "api_access.granted", "api_access.revoked")


async def test_the_database_itself_refuses_access_of_level_1(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    connection: Any = await asyncpg.connect(identity.settings.database_url)
    try:
        with pytest.raises(asyncpg.CheckViolationError, match="ck_merchants_api_access"):
            await connection.execute(
                "UPDATE merchants SET level = 1 WHERE login_email = $1", merchant.document["login_email"]
            )
        with pytest.raises(asyncpg.CheckViolationError, match="ck_merchants_api_access"):
            await connection.execute(
                "UPDATE merchants SET status = 'disabled' WHERE login_email = $1", merchant.document["login_email"]
            )
        kept = await connection.fetchval(
            "SELECT sealed_key FROM merchants WHERE login_email = $1", merchant.document["login_email"]
        )
    finally:
        await connection.close()
    assert b"wbk_" not in kept


async def test_a_merchants_locations_are_the_tenants_own_and_active(identity: Identity, tenant: Tenant) -> None:
    stranger = await identity.create_tenant()
    inactive = await tenant.owner.create("/v1/locations", location_body())
    await tenant.owner.create(f"/v1/locations/{inactive['id']}/deactivate")
    ids = [tenant.default_location, stranger.default_location, inactive["id"], tenant.default_location]

    answer = await tenant.owner.post(
        "/v1/merchants",
        merchant_body(tenant.default_location, location_ids=ids, default_location_id=stranger.default_location),
    )
    elsewhere = await tenant.owner.post(
        "/v1/merchants", merchant_body(tenant.default_location, default_location_id=stranger.default_location)
    )
    none = await tenant.owner.post("/v1/merchants", merchant_body(tenant.default_location, location_ids=[]))

    codes = {error["pointer"]: error["code"] for error in refused(answer, 422, "invalid")["errors"]}
    assert codes == {
        "/location_ids/1": "location_unknown",
        "/location_ids/2": "location_inactive",
        "/location_ids/3": "duplicate",
    }
    assert pointers(refused(elsewhere, 422, "invalid")) == ["/default_location_id"]
    assert pointers(refused(none, 422, "invalid")) == ["/location_ids"]


async def test_a_merchant_is_changed_and_found(identity: Identity, tenant: Tenant) -> None:
    other = await tenant.owner.create("/v1/locations", location_body())
    merchant = await tenant.create_merchant(
        api_access=False, reference_id="M-1", metadata={"tier": "gold"}, phone="+15145550100"
    )
    path = f"/v1/merchants/{merchant.id}"
    address = email("renamed")

    changed = document(
        await tenant.owner.patch(
            path,
            {
                "business_name": "Chez Ada",
                "login_email": address,
                "phone": None,
                "location_ids": [other["id"]],
                "default_location_id": other["id"],
                "metadata": {"tier": None},
            },
        )
    )

    assert (changed["business_name"], changed["phone"], changed["metadata"]) == ("Chez Ada", None, {})
    assert (changed["location_ids"], changed["default_location_id"]) == ([other["id"]], other["id"])
    await identity.log_in(tenant.id, address)
    found = (await tenant.owner.read("/v1/merchants?reference_id=M-1"))["data"]
    assert [one["id"] for one in found] == [merchant.id]
    assert (await tenant.owner.read("/v1/merchants?level=1"))["data"] == []
    twice = await tenant.owner.post("/v1/merchants", merchant_body(tenant.default_location, reference_id="M-1"))
    assert refused(twice, 409, "reference_id_taken")["existing_id"] == merchant.id
    updated = (await identity.events(merchant.id, "merchant.created", "merchant.updated"))[1]
    assert updated.data.location_ids == [other["id"]]


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
async def test_address_and_metadata_are_patched_member_by_member(tenant: Tenant, media_type: str) -> None:
    merchant = await tenant.create_merchant(
        address={"line1": "1 Rue X", "line2": "Rear", "city": "Montréal", "country": "CA"},
        metadata={"a": "1", "b": "1", "c": "1"},
    )
    path, content_type = f"/v1/merchants/{merchant.id}", {"Content-Type": media_type}
    patch = {
        "address": {"postal_code": "H0H 0H0", "line2": None, "city": "Laval"},
        "metadata": {"b": "2", "c": None, "d": ""},
    }

    changed = document(await tenant.owner.patch(path, patch, headers=content_type))
    again = document(await tenant.owner.patch(path, patch, headers=content_type))
    cleared = document(await tenant.owner.patch(path, {"address": None, "metadata": None}, headers=content_type))
    new = document(await tenant.owner.patch(path, {"address": {"raw": "2 Rue Y"}, "metadata": {"e": "5"}}))

    assert {name: value for name, value in changed["address"].items() if value is not None} == {
        "line1": "1 Rue X",
        "city": "Laval",
        "postal_code": "H0H 0H0",
        "country": "CA",
    }
    assert changed["metadata"] == {"a": "1", "b": "2", "d": ""}
    assert again == changed
    assert (cleared["address"], cleared["metadata"]) == (None, {})
    assert (new["address"]["raw"], new["address"]["line1"], new["metadata"]) == ("2 Rue Y", None, {"e": "5"})


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"address": {"line1": None}}, "/address/line1"),
        ({"address": {"country": "ZZ"}}, "/address/country"),
        ({"address": {"street": "x"}}, "/address/street"),
        ({"address": "1 Rue X"}, "/address"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": {f"k{number}": "x" for number in range(50)}}, "/metadata"),
    ],
)
async def test_a_merchant_that_a_patch_would_spoil_stays_as_it_is(
    tenant: Tenant, patch: dict[str, Any], pointer: str
) -> None:
    merchant = await tenant.create_merchant(address={"line1": "1 Rue X"}, metadata={"old": "1"})
    path = f"/v1/merchants/{merchant.id}"

    assert pointers(refused(await tenant.owner.patch(path, patch), 422, "invalid")) == [pointer]
    assert (await tenant.owner.read(path))["version"] == merchant.document["version"]
