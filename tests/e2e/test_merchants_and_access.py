"""Merchants and their API access, seen from outside: granting, using, ending it."""

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime

from tests.harness.bodies import smallest_job, tenant_body, unique
from tests.harness.client import Api, basic
from tests.harness.people import Tenant
from tests.harness.suite import SERVICES, Suite
from tests.harness.waiting import eventually


async def test_a_level_1_merchant_is_refused_api_access(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(level=1, api_access=False)

    granted = await tenant.owner.at("identity").post(f"/v1/merchants/{merchant.id}/api-access")
    created = await tenant.owner.at("identity").post(
        "/v1/merchants",
        {
            "business_name": "Level one",
            "login_email": "one@example.com",
            "level": 1,
            "api_access": True,
            "location_ids": [tenant.default_location],
            "default_location_id": tenant.default_location,
        },
    )

    assert granted.status_code == 409
    assert granted.json()["code"] == "merchant_level_required"
    assert created.status_code == 422
    assert created.json()["errors"][0]["pointer"] == "/api_access"


async def test_the_toggle_works_on_create_and_on_update(tenant: Tenant) -> None:
    with_access = await tenant.create_merchant(api_access=True)
    without = await tenant.create_merchant(api_access=False)

    updated = await tenant.owner.at("identity").patch(f"/v1/merchants/{without.id}", {"api_access": True})

    assert with_access.document["api_account_id"].startswith("acct_")
    assert without.document["api_account_id"] is None
    assert updated.status_code == 200
    assert updated.json()["api_account_id"].startswith("acct_")


async def test_leaving_level_2_ends_access_and_coming_back_does_not_restore_it(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    api = await merchant.reveal()

    await merchant.update(level=1)
    at_level_1 = merchant.document
    await merchant.update(level=2)

    assert at_level_1["api_access"] is False
    assert merchant.document["api_access"] is False
    await refused_everywhere(api, 403)


async def test_an_administrator_sees_account_ids_and_never_a_key(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await tenant.create_merchant(api_access=False)
    await merchant.reveal()

    accounts = await tenant.owner.at("identity").get("/v1/api-settings/accounts")
    merchants = await tenant.owner.at("identity").get("/v1/merchants")

    assert [one["api_account_id"] for one in accounts.json()["data"]] == [merchant.account_id]
    for answer in (accounts, merchants):
        assert merchant.key not in answer.text
        assert "wbk_" not in answer.text


async def test_deactivating_in_api_settings_is_in_force_in_every_service(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    api = await merchant.reveal()
    account_id = (await api.at("jobs").read("/v1/auth/test"))["api_account_id"]

    answer = await tenant.owner.at("identity").post(f"/v1/api-settings/accounts/{account_id}/deactivate")

    assert answer.status_code in (200, 204)
    await refused_everywhere(api, 403)


async def test_revoking_from_the_merchant_is_the_same_operation(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    api = await merchant.reveal()
    assert (await api.at("jobs").get("/v1/jobs")).status_code == 200

    answer = await tenant.owner.at("identity").delete(f"/v1/merchants/{merchant.id}/api-access")

    assert answer.status_code == 204
    await refused_everywhere(api, 403)
    listed = await tenant.owner.at("identity").get("/v1/api-settings/accounts")
    assert listed.json()["data"] == []


async def test_a_new_grant_makes_a_new_key_and_the_old_one_stays_closed(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    first = await merchant.reveal()
    path = f"/v1/merchants/{merchant.id}/api-access"
    await tenant.owner.at("identity").delete(path)
    await tenant.owner.at("identity").create(path)

    second = await merchant.reveal()

    assert second.headers != first.headers
    await refused_everywhere(first, 401)


async def test_a_merchant_reveals_its_api_credentials_and_uses_them(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    api = await merchant.reveal()

    created = await api.at("jobs").post("/v1/jobs", smallest_job())
    read = await api.at("jobs").get(f"/v1/jobs/{created.json()['id']}")
    listed = await api.at("jobs").get("/v1/jobs")

    assert created.status_code == 201
    assert read.json()["merchant_id"] == merchant.id
    assert [one["id"] for one in listed.json()["data"]] == [created.json()["id"]]


async def test_a_merchant_and_its_administrator_see_when_its_credentials_were_last_used_in_another_service(
    tenant: Tenant,
) -> None:
    merchant = await tenant.create_merchant()
    session, api = await merchant.session(), await merchant.reveal(settled=False)
    path = "/v1/api-settings"
    unused = (await session.at("identity").read(path))["last_used_at"]
    before = datetime.now(UTC)

    await api.settled("jobs")
    assert (await api.at("jobs").post("/v1/jobs", smallest_job())).status_code == 201

    async def used_at() -> str | None:
        found: str | None = (await session.at("identity").read(path))["last_used_at"]
        return found

    seen = await eventually(used_at, what="the use in jobs is seen in identity")
    assert unused is None
    assert before <= datetime.fromisoformat(seen) <= datetime.now(UTC)
    (account,) = (await tenant.owner.at("identity").read("/v1/api-settings/accounts"))["data"]
    assert account["last_used_at"] is not None


async def test_a_merchant_sees_only_its_own_jobs(tenant: Tenant) -> None:
    ours = await (await tenant.create_merchant()).reveal()
    theirs = await (await tenant.create_merchant()).reveal()
    made = (await ours.at("jobs").post("/v1/jobs", smallest_job())).json()

    assert (await theirs.at("jobs").get(f"/v1/jobs/{made['id']}")).status_code == 404
    assert (await theirs.at("jobs").read("/v1/jobs"))["data"] == []
    assert (await tenant.owner.at("jobs").get(f"/v1/jobs/{made['id']}")).status_code == 200


async def test_another_tenants_rows_do_not_exist(suite: Suite, tenant: Tenant) -> None:
    stranger = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    made = (await (await merchant.reveal()).at("jobs").post("/v1/jobs", smallest_job())).json()

    assert (await stranger.owner.at("jobs").get(f"/v1/jobs/{made['id']}")).status_code == 404
    assert (await stranger.owner.at("identity").get(f"/v1/merchants/{merchant.id}")).status_code == 404
    location = await stranger.owner.at("identity").get(f"/v1/locations/{tenant.default_location}")
    assert location.status_code == 404


async def test_no_route_that_reads_ignores_a_query_parameter(suite: Suite, tenant: Tenant) -> None:
    refused = 0

    for service in SERVICES:
        document = (await suite.client.get(f"{suite.urls[service]}/openapi.json")).json()
        for path, operations in document["paths"].items():
            if "get" not in operations or "session" not in operations["get"].get("x-admits", ["session"]):
                continue
            filled = path.replace("{", "").replace("}", "")
            answer = await tenant.owner.at(service).get(f"{filled}?surprise=1")
            if answer.status_code == 403:
                continue
            assert answer.status_code == 422, f"{path}: {answer.status_code}"
            assert [error["parameter"] for error in answer.json()["errors"]] == ["surprise"], path
            refused += 1

    assert refused > 40


async def test_a_test_platform_key_reaches_no_live_tenant_by_any_route(suite: Suite) -> None:
    live = await suite.platform_key()
    made = await live.at("identity").create("/v1/tenants", tenant_body(unique("Real")))
    name = made["name"]
    tried = 0
    for service in SERVICES:
        await live.in_tenant(made["id"]).settled(service)
    for route in await suite.routes():
        named = [{"X-Tenant-Id": made["id"]}, {"X-Tenant-Name": name.upper()}]
        filled = replace(route, path=route.path.replace("{tenant_id}", made["id"]))
        for headers in [*named, *([{}] if "{tenant_id}" in route.path else [])]:
            answer = await filled.call(suite.nobody.using({**suite.platform.headers, **headers}))
            tried += 1
            assert answer.status_code == 404, f"{headers} on {route}: {answer.status_code}"
            assert answer.json()["code"] == "tenant_not_found"

    assert tried > 200
    subscription = await live.in_tenant(made["id"]).at("billing").read("/v1/billing/subscription")
    assert subscription["version"] == 1


async def test_a_merchant_cannot_manage_webhooks_in_any_way(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    body = {"url": "https://example.com/hook", "event_types": ["*"], "location_ids": "*"}

    for api in (await merchant.reveal(), await (await merchant.session()).settled()):
        assert (await api.at("webhooks").post("/v1/webhook-endpoints", body)).status_code == 403
        assert (await api.at("webhooks").get("/v1/webhook-endpoints")).status_code == 403
        assert (await api.at("webhooks").get("/v1/deliveries")).status_code == 403


async def test_garbage_credentials_are_401_everywhere(suite: Suite, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    await merchant.reveal()
    wrong = [
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Digest username=x"},
        {"X-Api-Key": "wbk_live_short"},
        {"X-Api-Key": merchant.key},
        basic(merchant.account_id, merchant.key[:-1] + ("x" if merchant.key[-1] != "x" else "y")),
        basic(merchant.account_id, ""),
        basic("acct_unknown", merchant.key),
        {**merchant.api.headers, "X-Api-Key": "wbk_live_short"},
    ]

    for headers in wrong:
        for service in SERVICES:
            answer = await suite.nobody.using(headers).at(service).get("/v1/permissions")
            assert answer.status_code == 401, f"{service} {headers}: {answer.status_code}"
            assert answer.headers["content-type"] == "application/problem+json"
            assert "www-authenticate" in answer.headers


async def test_log_out_cuts_the_running_token_in_every_service(tenant: Tenant) -> None:
    session = await (await (await tenant.create_merchant()).session()).settled()

    answer = await session.at("identity").delete("/v1/sessions/current")

    assert answer.status_code == 204
    await refused_everywhere(session, 401, path="/v1/auth/test")


async def refused_everywhere(api: Api, status: int, path: str = "/v1/permissions") -> None:
    """Within a bound, every service answers this caller with this status."""

    async def refused(service: str) -> bool:
        return (await api.at(service).get(path)).status_code == status

    await asyncio.gather(
        *(eventually(lambda s=service: refused(s), what=f"{service} answers {status}") for service in SERVICES)  # type: ignore[misc]
    )
