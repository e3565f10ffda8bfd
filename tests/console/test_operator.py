"""Those who run Waybill: a platform key, all tenants, and acting in one of them."""

from datetime import datetime, timedelta
from html import unescape
from typing import Any

from tests.harness.console import ConsoleStack, Stock, text_of
from tests.harness.suite import Suite
from tests.harness.waiting import eventually


async def test_a_platform_key_opens_the_operators_pages_and_nothing_else_does(
    console: ConsoleStack, stock: Stock, suite: Suite
) -> None:
    stranger = console.visitor()
    refused = await stranger.send("/operator/sign-in", "/operator/sign-in", {"/key": "wbk_test_" + "x" * 49})
    own_key = await stock.tenant.owner.create("/v1/api-keys", {"name": "mine", "scopes": ["orders.jobs.read"]})
    with_user_key = await stranger.send("/operator/sign-in", "/operator/sign-in", {"/key": own_key["api_key"]})
    owner = await console.signed_in(stock.tenant.id, stock.tenant.owner_email)

    assert (refused.status_code, with_user_key.status_code) == (422, 422)
    assert "no platform key" in text_of(refused)
    for visitor in (stranger, owner):
        answer = await visitor.get("/operator")
        assert (answer.status_code, answer.headers["location"]) == (303, "/operator/sign-in")

    operator = await console.operating()
    key = suite.platform.headers["X-Api-Key"]
    for path in (
        "/operator",
        "/operator/volume",
        "/operator/status",
        "/operator/health",
        f"/operator/tenants/{stock.tenant.id}",
    ):
        page = await operator.get(path)
        assert page.status_code == 200
        assert key not in page.text
    assert key not in console.log


async def test_tenants_are_listed_by_their_requests(console: ConsoleStack, stock: Stock, suite: Suite) -> None:
    async def counted() -> list[dict[str, Any]] | None:
        found = (await suite.platform.read("/v1/busiest-tenants"))["data"]
        return found if stock.tenant.id in {one["tenant_id"] for one in found} else None

    found = await eventually(counted, seconds=120, what="the requests of the tenant are counted")

    calls = [one["calls"] for one in found]
    assert calls == sorted(calls, reverse=True)
    assert f"/operator/tenants/{stock.tenant.id}" in (await (await console.operating()).get("/operator/volume")).text


async def test_an_operator_extends_a_trial_suspends_and_activates(console: ConsoleStack, suite: Suite) -> None:
    tenant = await suite.create_tenant()
    operator = await console.operating()
    page = f"/operator/tenants/{tenant.id}"
    before = await tenant.owner.at("billing").read("/v1/billing/subscription")

    fields = {"/days": "14", "/trial_ends_at": before["trial_ends_at"], "if_match": f'"{before["version"]}"'}
    extended = await operator.send(page, f"{page}/extend", {**fields, "idempotency_key": "extend-once"})
    again = await operator.send(page, f"{page}/extend", {**fields, "idempotency_key": "extend-twice"})
    after = await tenant.owner.at("billing").read("/v1/billing/subscription")

    assert extended.status_code == 303
    assert again.status_code == 412
    newer = unescape(again.text.partition('name="if_match" value="')[2].partition('"')[0])
    assert newer not in ("", fields["if_match"]), "sent once more, the form changes that version"
    ends = [datetime.fromisoformat(one["trial_ends_at"]) for one in (before, after)]
    assert ends[1] - ends[0] == timedelta(days=14)

    listed = await suite.platform.at("billing").read("/v1/billing/tenants?status=trialing&limit=200")
    ends = [one["access_until"] for one in listed["data"]]
    assert ends == sorted(ends)
    assert tenant.id in {one["tenant_id"] for one in listed["data"]}
    assert tenant.id in (await operator.get("/operator?status=trialing")).text

    suspended = await operator.send(page, f"{page}/suspend", {})
    assert suspended.status_code == 303
    assert "Suspended" in text_of(await operator.get(page))
    assert tenant.id in (await operator.get("/operator/status?status=suspended")).text
    assert (await operator.send(page, f"{page}/activate", {})).status_code == 303

    async def readmitted() -> bool:
        return (await tenant.owner.get("/v1/merchants")).status_code in (200, 401)

    await eventually(readmitted, what="the tenant is active again")


async def test_an_operator_acts_in_a_tenant_under_a_band_until_it_leaves(console: ConsoleStack, stock: Stock) -> None:
    operator = await console.operating()
    page = f"/operator/tenants/{stock.tenant.id}"
    outside = await operator.get("/")

    entered = await operator.send(page, f"{page}/enter", {})
    inside = await operator.get("/")
    left = await operator.send("/operator", "/operator/leave", {})

    assert (outside.status_code, outside.headers["location"]) == (303, "/operator")
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert "as the operator" in text_of(inside)
    assert left.headers["location"] == "/operator"
    assert (await operator.get("/")).headers["location"] == "/operator"
