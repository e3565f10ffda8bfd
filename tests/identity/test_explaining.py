"""Why somebody may do something, or not: what is explained is what the access decision decides."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from identity.permissions import rules
from shared.access import authorization, permissions
from shared.access.principals import EVERYONE, Caller, Principal, RouteAccess
from shared.errors import WaybillError
from tests.harness.client import Api, document, refused
from tests.harness.identity import Identity
from tests.harness.people import Tenant
from tests.harness.who_may_what import read_table

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PATH = "/v1/permissions/explain"
codes = st.lists(st.sampled_from(sorted(permissions.TENANT_CODES)), max_size=4).map(tuple)


@st.composite
def callers(draw: st.DrawFn) -> Caller:
    """Any user, merchant or key of a tenant, in any condition."""
    via = draw(st.sampled_from(["session", "user_key", "merchant_session", "pair"]))
    is_merchant = via in ("merchant_session", "pair")
    principal = Principal(
        credential_id="key_1" if via in ("user_key", "pair") else None,
        credential_kind={"user_key": "user_key", "pair": "pair"}.get(via),
        credential_active=draw(st.booleans()),
        expires_at=draw(st.sampled_from([None, NOW - timedelta(1), NOW + timedelta(1)])) if via == "user_key" else None,
        scopes=draw(codes) if via == "user_key" else (),
        subject_id="mer_1" if is_merchant else "usr_1",
        subject_kind="merchant" if is_merchant else draw(st.sampled_from(["owner", "staff"])),
        subject_active=draw(st.booleans()),
        granted=() if is_merchant else draw(codes),
        level=draw(st.sampled_from([1, 2])) if is_merchant else None,
        api_access=draw(st.booleans()) if is_merchant else False,
        tenant_id="ten_1",
        tenant_status=draw(st.sampled_from(["active", "active", "suspended", "closed"])),
        subscription_status=draw(st.sampled_from(["trialing", "active", "expired", "unpaid"])),
        access_until=draw(st.sampled_from([None, NOW - timedelta(1), NOW + timedelta(1)])),
    )
    return authorization.caller_for(via, principal, livemode=True)  # type: ignore[arg-type]


@given(callers(), st.sampled_from(sorted(permissions.TENANT_CODES)))
def test_what_is_explained_is_what_is_decided(caller: Caller, permission: str) -> None:
    missing = rules.decide(caller, permission, NOW)
    grounds = rules.grounds_of(caller, permission)

    try:
        authorization.authorize(caller, RouteAccess("requires", permission, EVERYONE), NOW)
        refusal = None
    except WaybillError as error:
        refusal = error
    assert bool(missing) is (refusal is not None)
    if refusal is not None:
        named = (
            {refusal.problem_code, "merchant_level_required"}
            if refusal.problem_code == "api_access_off"
            else {refusal.problem_code}
        )
        assert missing[0].problem_code in named
    assert (grounds is not None) is (permission in caller.permissions)
    assert ("permission_missing" in {one.problem_code for one in missing}) is (grounds is None)
    if grounds is not None and grounds.code is not None:
        assert permission in permissions.expand([grounds.code])
        assert grounds.code in caller.principal.granted


async def explained(api: Api, permission: str, subject: str | None = None) -> dict[str, Any]:
    asked = {"permission": permission} | ({"subject": subject} if subject else {})
    return await api.read(PATH, params=asked)


def missing_in(explanation: dict[str, Any]) -> list[str]:
    return [one["code"] for one in explanation["missing"]]


async def test_staff_are_told_what_they_hold_something_by_and_who_can_grant_it(tenant: Tenant) -> None:
    boss = await tenant.create_staff("settings", "orders")
    await tenant.create_staff("settings.staff.write")
    clerk = await tenant.create_staff("orders", "customers.read")

    by_section = await explained(clerk, "orders.jobs.write")
    by_itself = await explained(clerk, "customers.read")
    lacking = await explained(clerk, "settings.webhooks.read")
    owner = await explained(tenant.owner, "billing.manage")

    assert (by_section["allowed"], by_section["held_by"], by_section["granted_code"]) == (True, "section", "orders")
    assert (by_itself["held_by"], by_itself["granted_code"]) == ("permission", "customers.read")
    assert (owner["allowed"], owner["held_by"], owner["granted_code"]) == (True, "owner", None)
    assert (lacking["allowed"], lacking["held_by"], missing_in(lacking)) == (False, None, ["permission_missing"])
    (missing,) = lacking["missing"]
    assert missing["needed"] == ["settings.staff.write", "settings.webhooks.read"]
    # Nobody grants what they do not hold: the second of the three could not.
    granters = [(one["kind"], one["id"]) for one in missing["granters"]]
    assert granters == [("owner", tenant.owner.subject_id), ("staff", boss.subject_id)]


async def test_merchants_and_their_credentials_are_explained(identity: Identity, tenant: Tenant) -> None:
    merchant, small = await tenant.create_merchant(), await tenant.create_merchant(level=1, api_access=False)
    account = merchant.document["api_account_id"]

    async def of_owner(permission: str, subject: str) -> dict[str, Any]:
        return await explained(tenant.owner, permission, subject)

    assert (await of_owner("orders.jobs.write", account))["held_by"] == "merchant"
    assert missing_in(await of_owner("orders.jobs.write", merchant.id)) == ["permission_missing"]
    assert missing_in(await of_owner("orders.jobs.read", small.id)) == []
    await tenant.owner.delete(f"/v1/merchants/{merchant.id}/api-access")
    off = await of_owner("orders.jobs.write", account)
    assert missing_in(off) == ["api_access_off"]
    assert off["missing"][0]["needed"] == ["settings.merchants.api_access"]
    await merchant.update(level=1)
    assert missing_in(await of_owner("orders.jobs.write", account)) == ["merchant_level_required"]
    session = await merchant.session()
    own = await explained(session, "orders.jobs.write", account)
    assert missing_in(own) == ["merchant_level_required"]
    # Merchants do not learn who works for the company.
    assert own["missing"][0]["granters"] == [{"kind": "owner", "id": None, "name": None}]
    refused(await session.get(PATH, params={"permission": "orders", "subject": small.id}), 403, "permission_missing")


async def test_all_that_is_missing_is_told_at_once(identity: Identity, tenant: Tenant) -> None:
    clerk = await tenant.create_staff("home")
    key = await clerk.post("/v1/api-keys", {"name": "no", "scopes": ["home"]})
    refused(key, 403, "permission_missing")
    made = await tenant.owner.create("/v1/api-keys", {"name": "narrow", "scopes": ["reports"]})
    await tenant.owner.delete(f"/v1/api-keys/{made['id']}")
    await tenant.owner.create(f"/v1/staff/{clerk.subject_id}/disable")
    await identity.begin_trial(tenant.id, ends_in=timedelta(seconds=-1), sequence=2)

    staff = await explained(tenant.owner, "orders", clerk.subject_id)
    narrow = await explained(tenant.owner, "orders", made["id"])

    assert missing_in(staff) == ["subject_disabled", "subscription_required", "permission_missing"]
    assert missing_in(narrow) == ["credential_revoked", "subscription_required", "permission_missing"]
    assert staff["missing"][1]["granters"][0]["id"] == tenant.owner.subject_id
    assert missing_in(await explained(tenant.owner, "orders")) == ["subscription_required"]


async def test_others_are_explained_to_those_who_may_see_staff(identity: Identity, tenant: Tenant) -> None:
    clerk, reader = await tenant.create_staff("home"), await tenant.create_staff("settings.staff.read")
    stranger = await (await identity.create_tenant()).create_staff("home")
    asked = {"permission": "home", "subject": clerk.subject_id}

    assert (await explained(reader, "home", clerk.subject_id))["allowed"] is True
    refused(await clerk.get(PATH, params={**asked, "subject": reader.subject_id}), 403, "permission_missing")
    # Whether an id exists is nothing to those who may not ask.
    refused(await clerk.get(PATH, params={**asked, "subject": "usr_no"}), 403, "permission_missing")
    for subject in (stranger.subject_id, "usr_no", "key_no", "acct_no", "nobody"):
        refused(await reader.get(PATH, params={**asked, "subject": subject}), 404, "subject_not_found")
    for permission in ("no.such", "platform.tenants.read"):
        refused(await clerk.get(PATH, params={"permission": permission}), 422, "invalid")
    integration = await (await tenant.create_merchant()).reveal()
    refused(await integration.get(PATH, params={"permission": "orders"}), 403, "credential_not_admitted")


async def test_real_requests_end_as_they_were_explained(tenant: Tenant) -> None:
    """Members of staff with random permissions call a route of each permission that identity asks for."""
    chance = random.Random(20_300_101)
    routes = {
        permission: name.removeprefix("identity GET ")
        for name, line in read_table()
        if name.startswith("identity GET ") and line.who == "administrators" and len(line.permissions) == 1
        for permission in line.permissions
    }
    assert len(routes) >= 6
    for _ in range(4):
        staff = await tenant.create_staff(*chance.sample(sorted(permissions.TENANT_CODES), 5))
        for permission, path in routes.items():
            said = await explained(tenant.owner, permission, staff.subject_id)
            answer = await staff.get(path.replace("{", "").replace("}", ""))
            problem = answer.json().get("code")
            assert said["allowed"] is (problem != "permission_missing"), f"{permission}: {answer.text}"
            assert document(await staff.get("/v1/permissions"))["scopes"].count(permission) == int(said["allowed"])
