"""Merchants, their API access and their locations, as administrators and merchants work with them; no script runs here."""

import re
from typing import Any

from playwright.async_api import Browser, expect

from tests.harness.bodies import PASSWORD
from tests.harness.console import ConsoleStack, Visitor, open_context, text_of
from tests.harness.people import Merchant, Tenant
from tests.harness.suite import Suite
from tests.harness.waiting import eventually


async def own_visitor(console: ConsoleStack, merchant: Merchant) -> Visitor:
    return await console.signed_in(merchant.tenant.id, str(merchant.document["login_email"]))


async def read(tenant: Tenant, merchant_id: str) -> dict[str, Any]:
    return await tenant.owner.read(f"/v1/merchants/{merchant_id}")


async def test_a_merchant_is_created_found_and_changed(owner: Visitor, tenant: Tenant) -> None:
    fields = {
        "/business_name": "Literie Boréale",
        "/login_email": "literie@example.com",
        "/reference_id": "L-77",
        "/level": "2",
        "/location_ids": tenant.default_location,
        "/password": PASSWORD,
    }
    refused = await owner.send("/merchants/new", "/merchants/new", {**fields, "/login_email": "nobody"})
    made = await owner.send("/merchants/new", "/merchants/new", fields)

    assert refused.status_code == 422
    assert 'value="Literie Boréale"' in refused.text
    assert 'aria-invalid="true"' in refused.text
    assert made.status_code == 303
    for words in ("liter", "L-77", "literie@example.com"):
        assert "Literie Boréale" in text_of(await owner.get("/merchants", params={"q": words}))
    assert "No merchant matches" in text_of(await owner.get("/merchants", params={"q": "zzz"}))
    edit = f"{made.headers['location']}/edit"
    page = (await owner.get(edit)).text
    if_match = re.search(r'name="if_match" value="([^"]+)"', page)
    assert if_match is not None
    stale = if_match[1].replace("&#34;", '"')
    patch = {**fields, "/business_name": "Literie du Nord", "if_match": stale}
    assert (await owner.send(edit, edit, patch)).status_code == 303
    again = await owner.send(edit, edit, {**patch, "/business_name": "Literie du Sud"})
    assert again.status_code == 412
    assert "Somebody else has changed this" in text_of(again)
    assert "There now: Literie du Nord" in text_of(again)


async def test_api_access_is_locked_for_level_1_granted_to_level_2_and_its_end_has_a_receipt(
    owner: Visitor, tenant: Tenant
) -> None:
    merchant = await tenant.create_merchant(level=1, api_access=False)
    page, access = f"/merchants/{merchant.id}", f"/merchants/{merchant.id}/api-access"
    assert "Only Level 2 can have API access." in text_of(await owner.get(page))

    raised = await owner.send(f"{page}/level", f"{page}/level", {"/level": "2"})
    granted = await owner.send(page, access, {})
    assert (raised.status_code, granted.status_code) == (303, 303)
    account_id = (await read(tenant, merchant.id))["api_account_id"]
    assert account_id in text_of(await owner.get(access))

    asked = text_of(await owner.get(f"{page}/level"))
    assert account_id in asked
    assert "These credentials are revoked" in asked
    lowered = await owner.send(f"{page}/level", f"{page}/level", {"/level": "1"})

    receipt = lowered.headers["location"].partition("?")[0]
    assert receipt.startswith("/receipts/rev_")

    async def complete() -> bool:
        return "In force everywhere" in text_of(await owner.get(f"{receipt}/state"))

    await eventually(complete, what="the receipt is complete")
    for service in ("identity", "billing", "jobs", "webhooks"):
        assert service in text_of(await owner.get(receipt))
    assert (await read(tenant, merchant.id))["api_access"] is False


async def test_several_merchants_are_granted_access_after_it_was_said_what_would_happen(
    owner: Visitor, tenant: Tenant
) -> None:
    names = [f"Bulk {number}" for number in range(3)]
    first, second, locked = [
        await tenant.create_merchant(business_name=name, level=level, api_access=False)
        for name, level in zip(names, (2, 2, 1), strict=True)
    ]
    ticked = [first.id, second.id, locked.id]
    chosen = {"q": "bulk", "which": "chosen", "what": "grant", "merchant_id": ticked}

    said = text_of(await owner.send("/merchants", "/merchants/bulk", chosen))
    assert "2 merchants get API access" in said
    assert "1 cannot have it" in said
    assert (await read(tenant, first.id))["api_access"] is False
    done = await owner.send(
        "/merchants", "/merchants/bulk/run", {"what": "grant", "merchant_id": [first.id, second.id]}
    )

    assert "2 merchants were changed." in text_of(done)
    held = [(await read(tenant, one.id))["api_access"] for one in (first, second, locked)]
    assert held == [True, True, False]


async def test_access_is_granted_to_all_that_match_after_a_dry_run(
    browser: Browser, console: ConsoleStack, owner: Visitor, tenant: Tenant
) -> None:
    first, second = [
        await tenant.create_merchant(business_name=f"Épicerie {number}", api_access=False) for number in range(2)
    ]
    locked = await tenant.create_merchant(business_name="Épicerie basse", level=1, api_access=False)
    window = await open_context(browser, console, owner, locale="en")
    tab = await window.new_page()
    await tab.goto("/merchants?q=epicerie&status=active")

    await tab.get_by_label("For which merchants").select_option("all")
    await tab.get_by_role("button", name="Grant API access…").click()
    await expect(tab.get_by_text("2 would be changed.")).to_be_visible()
    await expect(tab.locator("#now")).to_contain_text("only to merchants of level 2")
    between = (await read(tenant, first.id))["api_access"]
    await tab.get_by_role("button", name="Do it with all 2").click()
    await expect(tab.get_by_text("2 were changed.")).to_be_visible()
    await tab.get_by_role("link", name="See in the list").click()
    await expect(tab.get_by_role("list", name="Filters in force")).to_contain_text("Active")

    assert between is False
    held = [(await read(tenant, one.id))["api_access"] for one in (first, second, locked)]
    assert held == [True, True, False]
    assert await tab.evaluate("window.violations") == []
    await window.close()


async def test_home_says_how_long_revocations_took(console: ConsoleStack, suite: Suite) -> None:
    tenant = await suite.create_tenant()
    owner = await console.signed_in(tenant.id, tenant.owner_email)
    merchants = [await tenant.create_merchant() for _ in range(2)]
    before = text_of(await owner.get("/"))
    ended = [await tenant.owner.delete(f"/v1/merchants/{merchant.id}/api-access") for merchant in merchants]

    async def complete() -> list[int] | None:
        paths = [f"/v1/revocations/{answer.headers['Revocation-Id']}" for answer in ended]
        receipts = [await tenant.owner.read(path) for path in paths]
        return [one["applied_after_ms"] for one in receipts] if all(one["complete"] for one in receipts) else None

    took = await eventually(complete, what="both revocations are in force everywhere")
    after = text_of(await owner.get("/"))

    assert "Nothing has been revoked in this time." in before
    assert f"Revocations, last 24 hours {max(took):,} ms" in after
    assert "Revocations 2" in after
    assert "Not in force everywhere yet" not in after


async def test_deactivating_a_merchant_asks_first(owner: Visitor, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    path = f"/merchants/{merchant.id}/deactivate"

    assert "its API access is revoked" in text_of(await owner.get(path))
    assert (await owner.send(path, path, {})).headers["location"].startswith("/receipts/")
    assert (await read(tenant, merchant.id))["status"] == "disabled"
    assert (await owner.send(f"/merchants/{merchant.id}", f"/merchants/{merchant.id}/activate", {})).status_code == 303


async def test_a_merchant_sees_its_key_with_its_password_alone_and_replaces_it(
    console: ConsoleStack, tenant: Tenant
) -> None:
    merchant = await tenant.create_merchant()
    visitor, page = await own_visitor(console, merchant), "/api-settings"
    before = await visitor.get(page)
    wrong = await visitor.send(page, f"{page}/reveal", {"/password": "wrong-but-long-enough"})
    shown = await visitor.send(page, f"{page}/reveal", {"/password": PASSWORD})

    assert str(merchant.document["api_account_id"]) in before.text
    assert "wbk_test_" not in re.sub(r"wbk_test_….{4}", "", before.text)
    assert wrong.status_code == 403
    assert "This is not your password." in wrong.text
    (key,) = set(re.findall(r"wbk_test_[0-9A-Za-z]{20,}", shown.text))
    assert shown.headers["refresh"].startswith("30;")
    assert shown.headers["cache-control"] == "no-store"
    assert "This key works" in text_of(await visitor.send(page, f"{page}/test", {"key": key}))
    rotated = await visitor.send(page, f"{page}/rotate", {"/password": PASSWORD, "/overlap_seconds": "3600"})
    (newer,) = set(re.findall(r"wbk_test_[0-9A-Za-z]{20,}", rotated.text))
    assert newer != key
    assert "not used since the new one was issued" in text_of(rotated)
    ended = await visitor.send(page, f"{page}/end-overlap", {})
    assert ended.headers["location"].startswith("/receipts/")
    assert "This key is refused" in text_of(await visitor.send(page, f"{page}/test", {"key": key}))
    assert key not in console.log
    assert newer not in console.log


async def test_a_merchant_and_its_administrator_see_the_calls_that_failed(
    console: ConsoleStack, owner: Visitor, tenant: Tenant
) -> None:
    merchant = await tenant.create_merchant()
    await merchant.reveal()
    answer = await merchant.api.at("jobs").post("/v1/jobs", {})
    visitor = await own_visitor(console, merchant)

    for who, path in ((visitor, "/api-settings"), (owner, f"/merchants/{merchant.id}/api-access")):

        async def listed(who: Visitor = who, path: str = path) -> bool:
            return answer.headers["x-request-id"] in (await who.get(path)).text

        await eventually(listed, what="the failed call is listed")


async def test_a_merchant_of_level_1_is_told_why_it_has_no_api_settings(console: ConsoleStack, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(level=1, api_access=False)

    said = text_of(await (await own_visitor(console, merchant)).get("/api-settings"))

    assert "You have no API access" in said


async def test_accounts_show_use_and_never_a_key(owner: Visitor, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()

    page = await owner.get("/api-accounts")

    assert str(merchant.document["api_account_id"]) in page.text
    assert "wbk_" not in page.text
    assert "No account matches" in text_of(await owner.get("/api-accounts?unused=90"))


async def test_locations_are_looked_for_by_their_words(owner: Visitor, tenant: Tenant) -> None:
    await tenant.create_location(name="Dépôt Rimouski")

    page = await owner.get("/locations")
    found = await owner.get("/locations?q=depot")
    nothing = await owner.get("/locations?q=rimouski+laval")

    assert '<input class="input" type="search" name="q"' in page.text
    assert "Dépôt Rimouski" in text_of(found)
    assert tenant.default_location not in found.text
    assert "No location matches" in text_of(nothing)


async def test_a_location_that_is_needed_says_by_whom(owner: Visitor, tenant: Tenant) -> None:
    made = await owner.send("/locations/new", "/locations/new", {"/name": "Laval", "/type": "warehouse"})
    page = made.headers["location"]
    location_id = page.rpartition("/")[2]
    merchant = await tenant.create_merchant(location_ids=[location_id], default_location_id=location_id)

    blocked = await owner.send(page, f"{page}/deactivate", {})
    default = await owner.send("/locations", f"/locations/{tenant.default_location}/deactivate", {})

    assert (blocked.status_code, default.status_code) == (409, 409)
    assert f'href="/merchants/{merchant.id}/edit"' in blocked.text
    assert "It is the default of your company" in text_of(default)
    await tenant.owner.patch(f"/v1/merchants/{merchant.id}", {"location_ids": [tenant.default_location]})
    assert (await owner.send(page, f"{page}/deactivate", {})).status_code == 303
    assert (await owner.send(page, f"{page}/activate", {})).status_code == 303


async def test_who_may_only_read_is_offered_nothing_else(console: ConsoleStack, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant()
    staff = await tenant.create_staff("settings.merchants.read", "settings.locations.read")
    me = (await staff.read("/v1/auth/test"))["subject_id"]
    person = await tenant.owner.read(f"/v1/staff/{me}")
    visitor = await console.signed_in(tenant.id, person["email"])

    page = (await visitor.get(f"/merchants/{merchant.id}")).text

    assert "/edit" not in page
    assert "/deactivate" not in page
    assert "/revoke" not in page
    assert (await visitor.get("/merchants/new")).status_code == 403
    assert (await visitor.get(f"/merchants/{merchant.id}/activity")).status_code == 403
