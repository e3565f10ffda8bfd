"""API Settings: who sees, reveals, rotates and ends the API credentials of a merchant."""

import asyncio
from datetime import UTC, datetime

from tests.harness.bodies import PASSWORD
from tests.harness.client import pointers, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant
from tests.harness.waiting import eventually


async def test_access_is_deactivated_from_api_settings_by_the_same_operation(
    identity: Identity, tenant: Tenant
) -> None:
    merchant, other = await tenant.create_merchant(), await tenant.create_merchant()
    listed = await tenant.owner.read("/v1/api-settings/accounts")
    account_id = merchant.document["api_account_id"]

    assert (await tenant.owner.post(f"/v1/api-settings/accounts/{account_id}/deactivate")).status_code == 204
    assert (await tenant.owner.post(f"/v1/api-settings/accounts/{account_id}/deactivate")).status_code == 204

    assert {one["merchant_id"] for one in listed["data"]} == {merchant.id, other.id}
    assert "wbk_" not in str(listed)
    remaining = await tenant.owner.read("/v1/api-settings/accounts")
    assert [one["merchant_id"] for one in remaining["data"]] == [other.id]
    await identity.events(merchant.id, "merchant.created", "api_access.granted", "api_access.revoked")
    stranger = await identity.create_tenant()
    foreign = f"/v1/api-settings/accounts/{other.document['api_account_id']}/deactivate"
    refused(await stranger.owner.post(foreign), 404, "account_not_found")


async def test_a_merchant_reveals_its_credentials_with_its_password_only(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session = await merchant.session()

    wrong = await session.post("/v1/api-settings/reveal", {"password": "not mine, sorry"})
    shown = await session.post("/v1/api-settings/reveal", {"password": PASSWORD})

    refused(wrong, 403, "reauthentication_failed")
    assert shown.headers["cache-control"] == "no-store"
    credentials = shown.json()
    assert credentials["api_auth_key"].startswith("wbk_test_")
    settings = await session.read("/v1/api-settings")
    assert settings["api_account_id"] == credentials["api_account_id"]
    assert credentials["api_auth_key"] not in str(settings)
    trail = await tenant.owner.read(f"/v1/audit-events?target={merchant.id}&action=credential.revealed")
    assert [(one["actor"], one["actor_kind"]) for one in trail["data"]] == [(merchant.id, "merchant")]
    assert credentials["api_auth_key"] not in str(await tenant.owner.read("/v1/audit-events"))


async def test_the_api_settings_of_merchants_are_closed_to_everybody_else(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    integration = await merchant.reveal()

    for person in (tenant.owner, integration):
        refused(await person.get("/v1/api-settings"), 403, "credential_not_admitted")
        answer = await person.post("/v1/api-settings/reveal", {"password": PASSWORD})
        refused(answer, 403, "credential_not_admitted")
    level_1 = await (await tenant.create_merchant(api_access=False, level=1)).session()
    refused(await level_1.post("/v1/api-settings/reveal", {"password": PASSWORD}), 403, "merchant_level_required")


async def test_api_credentials_open_nothing_of_identity_but_who_they_belong_to(
    identity: Identity, tenant: Tenant
) -> None:
    merchant = await tenant.create_merchant()
    integration = await merchant.reveal()
    document_ = (await identity.client.get("/openapi.json")).json()
    open_to_credentials = {
        (method.upper(), path)
        for path, operations in document_["paths"].items()
        for method, operation in operations.items()
        if "pair" in operation["x-admits"] or operation["x-access"] == "public"
    }

    for path, operations in document_["paths"].items():
        for method in operations:
            if (method.upper(), path) in open_to_credentials:
                continue
            concrete = path.format(
                tenant_id=tenant.id,
                user_id=tenant.document["owner"]["id"],
                location_id=tenant.default_location,
                merchant_id=merchant.id,
                account_id=merchant.document["api_account_id"],
                key_id="key_01h455vb4pex5vsknk084sn02q",
                revocation_id="rev_01h455vb4pex5vsknk084sn02q",
                session_id="ses_01h455vb4pex5vsknk084sn02q",
                invitation_id="usr_01h455vb4pex5vsknk084sn02q",
                command_id="cmd_01h455vb4pex5vsknk084sn02q",
            )
            answer = await integration.request(method.upper(), concrete)
            assert answer.status_code == 403, f"{method} {path}: {answer.status_code}"
    assert {path for method, path in open_to_credentials if method == "GET"} == {
        "/v1/api-settings/locations",
        "/v1/auth/test",
        "/v1/permissions",
    }


async def test_rotation_keeps_the_former_key_for_the_overlap_alone(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session, first = await merchant.session(), await merchant.reveal()

    second = await session.create("/v1/api-settings/rotate", {"password": PASSWORD, "overlap_seconds": 5})
    during = (await first.get("/v1/auth/test")).status_code
    new_key = identity.nobody.basic(second["api_account_id"], second["api_auth_key"])
    works = (await new_key.get("/v1/auth/test")).status_code
    until = datetime.fromisoformat(second["previous_key_valid_until"])
    await asyncio.sleep((until - datetime.now(UTC)).total_seconds() + 0.05)
    after = (await first.get("/v1/auth/test")).status_code
    third = await session.create("/v1/api-settings/rotate", {"password": PASSWORD, "overlap_seconds": 0})

    assert (during, works, after) == (200, 200, 401)
    assert third["previous_key_valid_until"] is None
    assert (await new_key.get("/v1/auth/test")).status_code == 401
    too_long = await session.post("/v1/api-settings/rotate", {"password": PASSWORD, "overlap_seconds": 604_801})
    assert pointers(refused(too_long, 422, "invalid")) == ["/overlap_seconds"]
    by_default = await session.create("/v1/api-settings/rotate", {"password": PASSWORD})
    assert by_default["previous_key_valid_until"] is not None


async def test_a_merchant_sees_its_former_key_in_use_and_ends_the_overlap(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session, first = await merchant.session(), await merchant.reveal()
    await session.create("/v1/api-settings/rotate", {"password": PASSWORD})
    assert (await session.read("/v1/api-settings"))["previous_key_last_used_at"] is None
    before = datetime.now(UTC)
    assert (await first.get("/v1/auth/test")).status_code == 200

    async def shown() -> str | None:
        used_at: str | None = (await session.read("/v1/api-settings"))["previous_key_last_used_at"]
        return used_at

    assert before <= datetime.fromisoformat(await eventually(shown, what="the use of the former key"))
    ended = await session.post("/v1/api-settings/end-overlap")
    again = await session.post("/v1/api-settings/end-overlap")

    assert (ended.status_code, again.status_code) == (204, 204)
    assert (await first.get("/v1/auth/test")).status_code == 401
    assert "Revocation-Id" in ended.headers
    assert "Revocation-Id" not in again.headers
    settings = await session.read("/v1/api-settings")
    assert (settings["previous_key_valid_until"], settings["previous_key_last_used_at"]) == (None, None)
    trail = (await tenant.owner.read(f"/v1/audit-events?target={merchant.id}"))["data"]
    assert trail[0]["action"] == "credential.overlap_ended"
