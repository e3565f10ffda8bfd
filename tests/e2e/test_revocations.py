"""Receipts: since when each replica of each service refuses what was revoked."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.harness.bodies import PASSWORD
from tests.harness.client import Api, refused
from tests.harness.people import Merchant, Tenant
from tests.harness.revocations import complete, end_api_access, receipt
from tests.harness.suite import SERVICES, Process, Suite
from tests.harness.waiting import eventually

Revoke = Callable[[Tenant, Merchant], Awaitable[tuple[Api, httpx.Response]]]


async def deactivate_account(tenant: Tenant, merchant: Merchant) -> tuple[Api, httpx.Response]:
    account_id = merchant.document["api_account_id"]
    return tenant.owner, await tenant.owner.post(f"/v1/api-settings/accounts/{account_id}/deactivate")


async def move_to_level_1(tenant: Tenant, merchant: Merchant) -> tuple[Api, httpx.Response]:
    return tenant.owner, await tenant.owner.patch(f"/v1/merchants/{merchant.id}", {"level": 1})


async def disable_merchant(tenant: Tenant, merchant: Merchant) -> tuple[Api, httpx.Response]:
    return tenant.owner, await tenant.owner.post(f"/v1/merchants/{merchant.id}/disable")


async def rotate_at_once(_: Tenant, merchant: Merchant) -> tuple[Api, httpx.Response]:
    session = await merchant.session()
    return session, await session.post("/v1/api-settings/rotate", {"password": PASSWORD, "overlap_seconds": 0})


async def disable_staff(tenant: Tenant, _: Merchant) -> tuple[Api, httpx.Response]:
    staff = await tenant.create_staff("orders")
    return tenant.owner, await tenant.owner.post(f"/v1/staff/{staff.subject_id}/disable")


async def take_permissions(tenant: Tenant, _: Merchant) -> tuple[Api, httpx.Response]:
    staff = await tenant.create_staff("orders", "reports")
    body = {"permissions": ["reports"]}
    return tenant.owner, await tenant.owner.put(f"/v1/staff/{staff.subject_id}/permissions", body)


async def revoke_key_and_its_child(tenant: Tenant, _: Merchant) -> tuple[Api, httpx.Response]:
    body = {"name": "ERP", "scopes": ["settings.api_keys.write", "orders"]}
    made = await tenant.owner.create("/v1/api-keys", body)
    parent = await tenant.owner.using({"X-Api-Key": made["api_key"]}).settled("identity")
    await parent.create("/v1/api-keys", {"name": "scanner", "scopes": ["orders"]})
    return tenant.owner, await tenant.owner.delete(f"/v1/api-keys/{made['id']}")


async def log_out_everywhere(_: Tenant, merchant: Merchant) -> tuple[Api, httpx.Response]:
    answer = await (await merchant.session()).delete("/v1/sessions")
    return await merchant.session(), answer


WAYS: dict[str, Revoke] = {
    "api_access.revoked": end_api_access,
    "deactivated": deactivate_account,
    "level 1": move_to_level_1,
    "merchant.disabled": disable_merchant,
    "credential.rotated": rotate_at_once,
    "user.disabled": disable_staff,
    "user.permissions_changed": take_permissions,
    "session.revoked": log_out_everywhere,
    "credential.revoked": revoke_key_and_its_child,
}


async def test_every_way_to_end_access_has_a_receipt_of_all_services(suite: Suite, tenant: Tenant) -> None:
    merchants = [await tenant.create_merchant() for _ in WAYS]

    answers = [await revoke(tenant, merchant) for revoke, merchant in zip(WAYS.values(), merchants, strict=True)]

    for way, (caller, answer) in zip(WAYS, answers, strict=True):
        assert answer.status_code in (200, 204), (way, answer.text)
        found = await complete(caller, answer)
        assert found["action"] == (way if "." in way else "api_access.revoked")
        assert [service["service"] for service in found["services"]] == list(SERVICES)
        for service in found["services"]:
            (replica,) = [one for one in service["replicas"] if one["replica"] == "tests"]
            assert replica["state"] == "applied"
            assert 0 <= replica["applied_after_ms"] <= service["applied_after_ms"] <= found["applied_after_ms"]


async def test_what_ends_nothing_has_no_receipt(tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    session = await merchant.session()
    path = f"/v1/merchants/{merchant.id}"

    overlapping = await session.post("/v1/api-settings/rotate", {"password": PASSWORD})
    renamed = await tenant.owner.patch(path, {"business_name": "Boulangerie Zoé"})
    first, second = [await tenant.owner.delete(f"{path}/api-access") for _ in range(2)]

    assert [answer.status_code for answer in (overlapping, renamed, first, second)] == [200, 200, 204, 204]
    told = ["Revocation-Id" in answer.headers for answer in (overlapping, renamed, first, second)]
    assert told == [False, False, True, False]


async def test_a_receipt_is_for_whoever_revoked(suite: Suite, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    deputy = await tenant.create_staff("settings")
    made = await deputy.create("/v1/api-keys", {"name": "ERP", "scopes": ["settings"]})
    key = await deputy.using({"X-Api-Key": made["api_key"]}).settled("identity")
    stranger = await suite.create_tenant()

    answer = await key.delete(f"/v1/merchants/{merchant.id}/api-access")

    path = f"/v1/revocations/{answer.headers['Revocation-Id']}"
    assert (await deputy.read(path))["target"] == (await key.read(path))["target"] == merchant.id
    for other in (tenant.owner, await merchant.session(), stranger.owner, suite.platform.in_tenant(tenant.id)):
        refused(await other.get(path), 404, "revocation_not_found")


# -- a replica that is paused ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def second(suite: Suite) -> AsyncIterator[Process]:
    """A second replica of jobs; it serves its API alone, so that the first has all partitions."""
    # What it knew before a pause is too old after it.
    settings = {"WAYBILL_ROLES": "api", "WAYBILL_ACCESS_CACHE_TTL_SECONDS": "0.01"}
    async with suite.second_replica("jobs", instance="second", **settings) as process:
        yield process


async def test_a_test_clock_is_ready_when_both_replicas_go_by_the_new_time(
    suite: Suite, tenant: Tenant, second: Process
) -> None:
    owner, clock = tenant.owner.at("billing"), "/v1/billing/test-clock"
    await owner.create(clock)
    trial_ends_at = datetime.fromisoformat((await owner.read("/v1/billing/subscription"))["trial_ends_at"])

    async def moved(to: datetime) -> dict[str, Any]:
        await owner.create(f"{clock}/advance", {"to": to.isoformat()})

        async def ready() -> dict[str, Any] | None:
            found = await owner.read(clock)
            return found if found["status"] == "ready" else None

        return await eventually(ready, what=f"it is {to}")

    async def heard_of() -> bool:
        return "jobs/second" in (await owner.read(clock))["acknowledged_by"]

    await moved(trial_ends_at - timedelta(days=1))
    await eventually(heard_of, what="billing hears of the second replica")
    arrived = await moved(trial_ends_at)
    answers = [await api.get("/v1/jobs") for api in (tenant.owner.at("jobs"), replace(tenant.owner, url=second.url))]

    assert {"jobs/tests", "jobs/second"} <= set(arrived["acknowledged_by"])
    assert [answer.status_code for answer in answers] == [402, 402]


def replica(found: dict[str, Any], name: str) -> dict[str, Any] | None:
    (service,) = [one for one in found["services"] if one["service"] == "jobs"]
    return next((one for one in service["replicas"] if one["replica"] == name), None)


async def applied(revocation: tuple[Api, httpx.Response], name: str) -> dict[str, Any] | None:
    """The receipt, once this replica of jobs refuses."""
    found = await receipt(*revocation)
    one = replica(found, name)
    return found if one is not None and one["state"] == "applied" else None


async def test_a_replica_that_is_paused_is_missing_in_the_receipt_and_refuses_when_it_goes_on(
    suite: Suite, tenant: Tenant, second: Process
) -> None:
    merchant = await tenant.create_merchant()
    api = await merchant.reveal()
    at_second = replace(api, url=second.url)
    assert second.popen is not None
    known = await end_api_access(tenant, await tenant.create_merchant())
    await eventually(lambda: applied(known, "second"), what="identity hears of the second replica")
    assert (await at_second.get("/v1/jobs")).status_code == 200

    second.popen.send_signal(signal.SIGSTOP)
    asked_meanwhile = asyncio.create_task(at_second.get("/v1/jobs"))
    caller, answer = await end_api_access(tenant, merchant)

    paused = await eventually(lambda: applied((caller, answer), "tests"), what="the replica that runs has applied it")
    refused(await api.at("jobs").get("/v1/jobs"), 403, "api_access_off")
    missing = replica(paused, "second")
    assert missing is not None
    assert (missing["state"], missing["applied_after_ms"], paused["complete"]) == ("missing", None, False)
    assert missing["last_heard_at"] < paused["revoked_at"]

    second.popen.send_signal(signal.SIGCONT)
    refused(await asked_meanwhile, 403, "api_access_off")
    found = await complete(caller, answer)
    refused(await at_second.get("/v1/jobs"), 403, "api_access_off")
    late = replica(found, "second")
    assert late is not None
    assert late["state"] == "applied"
    assert late["applied_after_ms"] >= (replica(found, "tests") or late)["applied_after_ms"]
