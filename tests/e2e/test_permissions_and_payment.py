"""Who may do what, and until when: the permission model, and 402 at the very instant at which a trial ends."""

import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tests.harness.bodies import smallest_job
from tests.harness.client import Api, document
from tests.harness.people import Tenant
from tests.harness.suite import SERVICES, Route, Suite, end_trial
from tests.harness.waiting import eventually
from tests.harness.who_may_what import read_table

OF_NO_TENANT = {"anybody", "the platform"}
SECTIONS = {"home", "orders", "reports", "products", "customers", "appearance", "settings"}


async def test_a_staff_member_without_orders_is_refused_jobs(tenant: Tenant) -> None:
    without = await tenant.create_staff("home", "appearance", "settings", "reports")
    with_orders = await tenant.create_staff("orders")

    refused = await without.at("jobs").get("/v1/jobs")

    assert refused.status_code == 403
    assert refused.json()["required"] == ["orders.jobs.read"]
    assert (await with_orders.at("jobs").get("/v1/jobs")).status_code == 200


async def test_a_change_of_permissions_reaches_jobs(tenant: Tenant) -> None:
    staff = await tenant.create_staff("orders")
    staff_id = (await staff.at("identity").read("/v1/auth/test"))["subject_id"]

    changed = await tenant.owner.at("identity").put(f"/v1/staff/{staff_id}/permissions", {"permissions": ["reports"]})

    assert changed.status_code == 200

    async def refused() -> bool:
        return (await staff.at("jobs").get("/v1/jobs")).status_code in (401, 403)

    await eventually(refused, what="jobs refuses the staff member")


async def test_anybody_can_ask_for_their_permissions(tenant: Tenant) -> None:
    staff = await tenant.create_staff("reports")
    merchant = await (await tenant.create_merchant()).reveal()

    for service in SERVICES:
        owner = await tenant.owner.at(service).read("/v1/permissions")
        assert owner["is_owner"] is True
        assert set(owner["permissions"]) == SECTIONS
        assert all(owner["permissions"].values())
        assert owner["subscription"]["status"] == "trialing"
        assert (await staff.at(service).read("/v1/permissions"))["permissions"]["reports"] is True
        assert (await staff.at(service).read("/v1/permissions"))["permissions"]["orders"] is False
        own = await merchant.at(service).read("/v1/permissions")
        assert (own["principal"], own["row_scope"], own["api_access"]) == ("merchant", "own", True)
        assert "orders.jobs.write" in own["scopes"]


async def test_the_owner_cannot_be_reduced(tenant: Tenant) -> None:
    owner_id = (await tenant.owner.at("identity").read("/v1/auth/test"))["subject_id"]
    staff = await tenant.create_staff("settings")

    answer = await staff.at("identity").put(f"/v1/staff/{owner_id}/permissions", {"permissions": []})

    assert answer.status_code in (403, 404, 409)
    assert (await tenant.owner.at("jobs").read("/v1/permissions"))["is_owner"] is True


async def test_402_begins_at_the_very_instant_without_any_event(suite: Suite) -> None:
    tenant = await suite.create_tenant()
    merchant = await (await tenant.create_merchant()).reveal()
    end = datetime.now(UTC) + timedelta(seconds=6)
    await tenant.end_trial_at(end)

    async def known() -> bool:
        answer = await merchant.at("jobs").read("/v1/permissions")
        return datetime.fromisoformat(answer["subscription"]["trial_ends_at"]) == end

    await eventually(known, what="jobs knows the new end of the trial")
    # While billing stands still no event can announce the end: jobs has to see it by its own clock.
    billing = suite.processes["billing"].popen
    assert billing is not None
    billing.send_signal(signal.SIGSTOP)
    try:
        before, after = list[int](), list[int]()
        while len(after) < 10:
            asked = datetime.now(UTC)
            status = (await merchant.at("jobs").get("/v1/jobs")).status_code
            answered = datetime.now(UTC)
            if answered < end:
                before.append(status)
            elif asked >= end:
                after.append(status)
        assert set(before) == {200}
        assert set(after) == {402}
        assert (await merchant.at("jobs").post("/v1/jobs", smallest_job())).status_code == 402
    finally:
        billing.send_signal(signal.SIGCONT)


async def test_what_stays_open_after_the_trial(suite: Suite) -> None:
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    await end_trial(tenant)

    for service, path in (
        *((service, "/v1/permissions") for service in SERVICES),
        *((service, "/v1/auth/test") for service in SERVICES),
        ("identity", "/v1/tenant"),
        ("billing", "/v1/billing/subscription"),
    ):
        answer = await tenant.owner.at(service).get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
    for service, path in (
        ("jobs", "/v1/jobs"),
        ("webhooks", "/v1/webhook-endpoints"),
        ("identity", "/v1/merchants"),
    ):
        answer = await tenant.owner.at(service).get(path)
        assert answer.status_code == 402
        assert answer.json()["code"] == "subscription_required"
    revoked = await tenant.owner.at("identity").delete(f"/v1/merchants/{merchant.id}/api-access")
    assert revoked.status_code == 204


async def test_402_is_the_answer_of_every_route_that_has_to_be_paid_for_and_of_no_other(suite: Suite) -> None:
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    callers = [await user_key(suite, tenant), await merchant.reveal(), await (await merchant.session()).settled()]
    await end_trial(tenant)
    routes = await suite.routes()

    # Logging out ends a session that is still needed: it is asked last.
    for route in sorted(routes, key=lambda route: route.method == "DELETE" and "/v1/sessions" in route.path):
        for api in callers:
            answer = await route.call(api)
            assert (answer.status_code == 402) is not route.is_free, f"{route}: {answer.status_code}"
            assert answer.status_code != 402 or answer.json()["code"] == "subscription_required"

    open_without_payment = {name for name, line in read_table() if line.unpaid and line.who not in OF_NO_TENANT}
    assert {str(route) for route in routes if route.is_free and not is_for_operators(route)} == open_without_payment


async def test_a_suspended_tenant_is_refused_by_every_route(suite: Suite) -> None:
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    callers = [await user_key(suite, tenant), await merchant.reveal()]
    await suite.platform.at("identity").create(f"/v1/tenants/{tenant.id}/suspend")
    for service in SERVICES:

        async def suspended(service: str = service) -> bool:
            return (await tenant.owner.at(service).get("/v1/permissions")).status_code == 403

        await eventually(suspended, what=f"{service} knows of the suspension")

    for route in await suite.routes():
        for api in callers:
            answer = await route.call(api)
            assert answer.status_code == 403, f"{route}: {answer.status_code}"
            assert answer.json()["code"] == "tenant_suspended"


async def test_a_closed_tenant_is_refused_by_every_service(suite: Suite) -> None:
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    callers = [
        tenant.owner,
        await user_key(suite, tenant),
        await merchant.reveal(),
        suite.platform.in_tenant(tenant.id),
    ]

    document(await suite.platform.at("identity").post(f"/v1/tenants/{tenant.id}/close"))

    for service in SERVICES:
        for api in callers:

            async def closed(api: Api = api, service: str = service) -> bool:
                answer = await api.at(service).get("/v1/permissions")
                return answer.status_code == 403 and answer.json()["code"] == "tenant_closed"

            await eventually(closed, what=f"{service} knows that the tenant is closed")


async def test_a_narrowed_user_key_opens_only_what_its_scopes_name(suite: Suite, tenant: Tenant) -> None:
    key = await user_key(suite, tenant, scopes=["reports", "orders.jobs.read", "settings.webhooks.read"])
    held = (await key.at("identity").read("/v1/permissions"))["scopes"]
    opened = set()

    for route in await suite.routes():
        answer = await route.call(key)
        if not route.admits("user_key"):
            expected = "credential_not_admitted"
        elif route.permission is not None and route.permission not in held:
            expected = "permission_missing"
        else:
            assert answer.status_code not in (401, 402, 403), f"{route}: {answer.status_code} {answer.text}"
            opened.add(route.permission)
            continue
        assert answer.status_code == 403, f"{route}: {answer.status_code} {answer.text}"
        assert answer.json()["code"] == expected, str(route)

    assert opened - {None} == {"reports.read", "orders.jobs.read", "settings.webhooks.read"}


async def test_an_extended_trial_opens_the_api_again(suite: Suite) -> None:
    tenant = await suite.create_tenant()
    await end_trial(tenant)

    await tenant.end_trial_at(datetime.now(UTC) + timedelta(days=1))

    async def open_again() -> bool:
        return (await tenant.owner.at("jobs").get("/v1/jobs")).status_code == 200

    await eventually(open_again, what="jobs lets the owner in again")


async def test_a_suspended_tenant_is_refused_before_payment_is_asked_for(suite: Suite) -> None:
    tenant = await suite.create_tenant()
    await end_trial(tenant)

    await suite.platform.at("identity").create(f"/v1/tenants/{tenant.id}/suspend")

    async def suspended() -> bool:
        answer = await tenant.owner.at("jobs").get("/v1/jobs")
        return answer.status_code == 403 and answer.json()["code"] == "tenant_suspended"

    await eventually(suspended, what="jobs knows of the suspension")


async def test_a_platform_key_works_in_the_tenant_that_it_names(suite: Suite, tenant: Tenant) -> None:
    named = suite.nobody.using({**suite.platform.headers, "X-Tenant-Id": tenant.id})
    by_name = suite.nobody.using({**suite.platform.headers, "X-Tenant-Name": tenant.name})
    nobody = suite.nobody.using({**suite.platform.headers, "X-Tenant-Name": "no such tenant"})

    for api in (named, by_name):
        assert (await api.at("jobs").get("/v1/jobs")).status_code == 200
    assert (await nobody.at("jobs").get("/v1/jobs")).status_code == 404
    assert (await suite.platform.at("jobs").get("/v1/jobs")).status_code == 400


async def test_a_user_key_can_only_narrow(suite: Suite, tenant: Tenant) -> None:
    made = await tenant.owner.at("identity").create(
        "/v1/api-keys", {"name": "reports only", "scopes": ["reports"], "livemode": False}
    )
    key = await suite.nobody.using({"X-Api-Key": made["api_key"]}).settled()

    assert (await key.at("jobs").get("/v1/jobs")).status_code == 403
    assert (await key.at("jobs").read("/v1/permissions"))["permissions"]["reports"] is True


def is_for_operators(route: Route) -> bool:
    return (route.permission or "").startswith("platform.")


async def user_key(suite: Suite, tenant: Tenant, scopes: Sequence[str] | None = None) -> Api:
    """A key of the owner that may do what the owner may, or only this; every service knows it."""
    if scopes is None:
        scopes = (await tenant.owner.at("identity").read("/v1/permissions"))["scopes"]
    made = await tenant.owner.at("identity").create(
        "/v1/api-keys", {"name": "a key", "scopes": scopes, "livemode": False}
    )
    return await suite.nobody.using({"X-Api-Key": made["api_key"]}).settled()
