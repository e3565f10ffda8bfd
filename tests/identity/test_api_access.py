"""API access: who can have it, what ends it, who sees what of it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from shared.events.identity import MerchantState
from tests.support.identity import PASSWORD, Identity, Tenant, document, pointers, refused


@pytest.mark.parametrize("level", [1])
async def test_api_access_of_level_1_is_refused_when_creating(tenant: Tenant, level: int) -> None:
    answer = await tenant.owner.post("/v1/merchants", tenant.merchant_body(level=level, api_access=True))

    problem = refused(answer, 422, "invalid")
    assert problem["errors"][0]["pointer"] == "/api_access"
    assert problem["errors"][0]["code"] == "merchant_level_required"


async def test_api_access_of_level_1_is_refused_when_updating_or_granting(tenant: Tenant) -> None:
    merchant = await tenant.merchant(level=1)

    update = await tenant.owner.patch(f"/v1/merchants/{merchant.id}", {"api_access": True})
    granting = await tenant.owner.post(f"/v1/merchants/{merchant.id}/api-access")

    assert pointers(refused(update, 422, "invalid")) == ["/api_access"]
    assert refused(granting, 409, "merchant_level_required")["current_level"] == 1
    assert (await merchant.now())["api_access"] is False


async def test_the_toggle_works_when_creating_and_when_updating(identity: Identity, tenant: Tenant) -> None:
    created = await tenant.merchant(api_access=True)
    updated = await tenant.merchant(level=1)
    moved = document(await tenant.owner.patch(f"/v1/merchants/{updated.id}", {"level": 2, "api_access": True}))

    assert created.document["api_account_id"].startswith("acct_")
    assert moved["api_account_id"].startswith("acct_")
    facts = await identity.facts(created.id, "merchant.created", "api_access.granted")
    assert [fact.sequence for fact in facts] == [1, 2]
    state: MerchantState = facts[1].data
    assert state.api_access
    assert state.pair is not None
    assert state.pair.account_id == created.document["api_account_id"]
    assert not state.pair.livemode


async def test_moving_to_level_1_ends_access_and_moving_back_does_not_restore_it(
    identity: Identity, tenant: Tenant
) -> None:
    merchant = await tenant.merchant(api_access=True)
    pair = identity.pair(**await merchant.pair())
    assert (await pair.get("/v1/auth/test")).status_code == 200

    lowered = document(await tenant.owner.patch(f"/v1/merchants/{merchant.id}", {"level": 1}))
    cut_off = await pair.get("/v1/auth/test")
    raised = document(await tenant.owner.patch(f"/v1/merchants/{merchant.id}", {"level": 2}))

    assert (lowered["api_access"], lowered["api_account_id"]) == (False, None)
    refused(cut_off, 403, "api_access_off")
    assert (raised["level"], raised["api_access"]) == (2, False)
    refused(await pair.get("/v1/auth/test"), 403, "api_access_off")
    await identity.facts(
        merchant.id,
        "merchant.created",
        "api_access.granted",
        "credential.revealed",
        "merchant.level_changed",
        "api_access.revoked",
        "merchant.level_changed",
    )


async def test_disabling_a_merchant_ends_its_access_and_its_sessions(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.merchant(api_access=True)
    session, pair = await merchant.session(), identity.pair(**await merchant.pair())

    disabled = await tenant.owner.made(f"/v1/merchants/{merchant.id}/disable")
    again = await tenant.owner.made(f"/v1/merchants/{merchant.id}/disable")

    assert (disabled["status"], disabled["api_access"]) == ("disabled", False)
    assert again["version"] == disabled["version"]
    refused(await pair.get("/v1/auth/test"), 403, "api_access_off")
    assert (await session.get("/v1/tenant")).status_code == 401
    refused(
        await identity.nobody.post("/v1/sessions/refresh", {"refresh_token": session.document["refresh_token"]}),
        401,
        "refresh_token_wrong",
    )
    refused(await tenant.owner.post(f"/v1/merchants/{merchant.id}/api-access"), 409, "merchant_disabled")
    enabled = await tenant.owner.made(f"/v1/merchants/{merchant.id}/enable")
    assert (enabled["status"], enabled["api_access"]) == ("active", False)


async def test_a_new_grant_keeps_the_account_id_and_makes_a_new_key(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.merchant(api_access=True)
    first = await merchant.pair()
    path = f"/v1/merchants/{merchant.id}/api-access"

    assert (await tenant.owner.delete(path)).status_code == 204
    assert (await tenant.owner.delete(path)).status_code == 204
    granted = await tenant.owner.made(path)
    repeated = await tenant.owner.made(path)
    second = await merchant.pair()

    assert granted == repeated
    assert second["api_account_id"] == first["api_account_id"] == granted["api_account_id"]
    assert second["api_auth_key"] != first["api_auth_key"]
    refused(await identity.pair(**first).get("/v1/auth/test"), 401, "credentials_wrong")
    assert (await identity.pair(**second).get("/v1/auth/test")).status_code == 200


async def test_access_is_deactivated_from_api_settings_by_the_same_operation(
    identity: Identity, tenant: Tenant
) -> None:
    merchant, other = await tenant.merchant(api_access=True), await tenant.merchant(api_access=True)
    listed = document(await tenant.owner.get("/v1/api-settings/accounts"))
    account_id = merchant.document["api_account_id"]

    assert (await tenant.owner.post(f"/v1/api-settings/accounts/{account_id}/deactivate")).status_code == 204
    assert (await tenant.owner.post(f"/v1/api-settings/accounts/{account_id}/deactivate")).status_code == 204

    assert {one["merchant_id"] for one in listed["data"]} == {merchant.id, other.id}
    assert "wbk_" not in str(listed)
    remaining = document(await tenant.owner.get("/v1/api-settings/accounts"))
    assert [one["merchant_id"] for one in remaining["data"]] == [other.id]
    await identity.facts(merchant.id, "merchant.created", "api_access.granted", "api_access.revoked")
    stranger = await identity.new_tenant()
    foreign = f"/v1/api-settings/accounts/{other.document['api_account_id']}/deactivate"
    refused(await stranger.owner.post(foreign), 404, "account_not_found")


async def test_the_toggle_needs_its_own_permission(tenant: Tenant) -> None:
    clerk = await tenant.staff("settings.merchants.read", "settings.merchants.write")
    merchant = await tenant.merchant()

    creating = await clerk.post("/v1/merchants", tenant.merchant_body(api_access=True))
    updating = await clerk.patch(f"/v1/merchants/{merchant.id}", {"api_access": True})
    granting = await clerk.post(f"/v1/merchants/{merchant.id}/api-access")

    for answer in (creating, updating, granting):
        assert refused(answer, 403, "permission_missing")["required"] == ["settings.merchants.api_access"]
    assert (await clerk.patch(f"/v1/merchants/{merchant.id}", {"business_name": "Chez Sam"})).status_code == 200


async def test_a_merchant_reveals_its_pair_with_its_password_alone(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.merchant(api_access=True)
    session = await merchant.session()

    wrong = await session.post("/v1/api-settings/reveal", {"password": "not mine, sorry"})
    shown = await session.post("/v1/api-settings/reveal", {"password": PASSWORD})

    refused(wrong, 403, "reauthentication_failed")
    assert shown.headers["cache-control"] == "no-store"
    pair = shown.json()
    assert pair["api_auth_key"].startswith("wbk_test_")
    settings = document(await session.get("/v1/api-settings"))
    assert settings["api_account_id"] == pair["api_account_id"]
    assert pair["api_auth_key"] not in str(settings)
    trail = document(await tenant.owner.get(f"/v1/audit-events?target={merchant.id}&action=credential.revealed"))
    assert [(one["actor"], one["actor_kind"]) for one in trail["data"]] == [(merchant.id, "merchant")]
    assert pair["api_auth_key"] not in str(document(await tenant.owner.get("/v1/audit-events")))


async def test_the_api_settings_of_merchants_are_closed_to_everybody_else(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.merchant(api_access=True)
    pair = identity.pair(**await merchant.pair())

    for person in (tenant.owner, pair):
        refused(await person.get("/v1/api-settings"), 403, "credential_not_admitted")
        answer = await person.post("/v1/api-settings/reveal", {"password": PASSWORD})
        refused(answer, 403, "credential_not_admitted")
    level_1 = await (await tenant.merchant(level=1)).session()
    refused(await level_1.post("/v1/api-settings/reveal", {"password": PASSWORD}), 403, "merchant_level_required")


async def test_a_merchants_pair_opens_nothing_of_identity_but_who_it_is(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.merchant(api_access=True)
    pair = identity.pair(**await merchant.pair())
    document_ = (await identity.client.get("/openapi.json")).json()
    open_to_pairs = {
        (method.upper(), path)
        for path, operations in document_["paths"].items()
        for method, operation in operations.items()
        if "pair" in operation["x-admits"] or operation["x-access"] == "public"
    }

    for path, operations in document_["paths"].items():
        for method in operations:
            if (method.upper(), path) in open_to_pairs:
                continue
            concrete = path.format(
                tenant_id=tenant.id,
                user_id=tenant.document["owner"]["id"],
                location_id=tenant.default_location,
                merchant_id=merchant.id,
                account_id=merchant.document["api_account_id"],
                key_id="key_01h455vb4pex5vsknk084sn02q",
            )
            answer = await pair.request(method.upper(), concrete)
            assert answer.status_code == 403, f"{method} {path}: {answer.status_code}"
    assert {path for method, path in open_to_pairs if method == "GET"} == {"/v1/auth/test", "/v1/permissions"}


async def test_rotation_keeps_the_former_key_for_the_overlap_alone(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.merchant(api_access=True)
    session, first = await merchant.session(), await merchant.pair()

    second = await session.made("/v1/api-settings/rotate", {"password": PASSWORD, "overlap_seconds": 5})
    during = (await identity.pair(**first).get("/v1/auth/test")).status_code
    new_key = identity.pair(api_account_id=second["api_account_id"], api_auth_key=second["api_auth_key"])
    works = (await new_key.get("/v1/auth/test")).status_code
    until = datetime.fromisoformat(second["previous_key_valid_until"])
    await asyncio.sleep((until - datetime.now(UTC)).total_seconds() + 0.05)
    after = (await identity.pair(**first).get("/v1/auth/test")).status_code
    third = await session.made("/v1/api-settings/rotate", {"password": PASSWORD, "overlap_seconds": 0})

    assert (during, works, after) == (200, 200, 401)
    assert third["previous_key_valid_until"] is None
    assert (await new_key.get("/v1/auth/test")).status_code == 401
    too_long = await session.post("/v1/api-settings/rotate", {"password": PASSWORD, "overlap_seconds": 604_801})
    assert pointers(refused(too_long, 422, "invalid")) == ["/overlap_seconds"]
    by_default = await session.made("/v1/api-settings/rotate", {"password": PASSWORD})
    assert by_default["previous_key_valid_until"] is not None


async def test_concurrent_grants_make_one_key_and_one_fact(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.merchant()
    path = f"/v1/merchants/{merchant.id}/api-access"

    answers = await asyncio.gather(*(tenant.owner.post(path) for _ in range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["version"] for answer in answers} == {2}
    await tenant.owner.delete(path)
    await identity.facts(merchant.id, "merchant.created", "api_access.granted", "api_access.revoked")


async def test_the_database_itself_refuses_access_of_level_1(identity: Identity, tenant: Tenant) -> None:
    merchant = await tenant.merchant(api_access=True)
    connection: Any = await asyncpg.connect(identity.settings.database_url)
    try:
        with pytest.raises(asyncpg.CheckViolationError, match="ck_merchants_api_access"):
            await connection.execute("UPDATE merchants SET level = 1 WHERE login_email = $1", merchant.email)
        with pytest.raises(asyncpg.CheckViolationError, match="ck_merchants_api_access"):
            await connection.execute("UPDATE merchants SET status = 'disabled' WHERE login_email = $1", merchant.email)
        kept = await connection.fetchval("SELECT sealed_key FROM merchants WHERE login_email = $1", merchant.email)
    finally:
        await connection.close()
    assert b"wbk_" not in kept
