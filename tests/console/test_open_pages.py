"""Pages that are open while something ends: the session, a permission, the company's access, its trial."""

import re
from html import unescape

import asyncpg
import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.harness.bodies import PASSWORD, staff_body
from tests.harness.console import ConsoleStack, Visitor, open_context, text_of
from tests.harness.people import Tenant
from tests.harness.suite import Suite, end_trial
from tests.harness.waiting import eventually

PAGE = "/locations/new"
FRAGMENT = {"HX-Request": "true"}
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


async def end_sessions(console: ConsoleStack, tenant: Tenant) -> None:
    """As where they have expired."""
    connection = await asyncpg.connect(console.database)
    await connection.execute("DELETE FROM browser_sessions WHERE person->>'tenant_id' = $1", tenant.id)
    await connection.close()


def kept(answer: httpx.Response) -> dict[str, str]:
    """What a page sends on."""
    main = answer.text.partition("<main")[2].partition("<dialog")[0]
    return {name: unescape(value) for name, value in HIDDEN.findall(main) if name not in ("back", "form_token")}


async def member(console: ConsoleStack, tenant: Tenant, *permissions: str) -> tuple[Visitor, str]:
    """A member of staff, and their id."""
    body = staff_body(*permissions)
    made = await tenant.owner.create("/v1/staff", body)
    return await console.signed_in(tenant.id, body["email"]), made["id"]


async def grant(tenant: Tenant, user_id: str, *permissions: str) -> None:
    changed = await tenant.owner.request(
        "PUT", f"/v1/staff/{user_id}/permissions", json={"permissions": list(permissions)}
    )
    assert changed.status_code == 200, changed.text


async def test_a_dialog_asks_for_the_password_and_the_form_goes_on(
    browser: Browser, console: ConsoleStack, suite: Suite
) -> None:
    tenant = await suite.create_tenant()
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    window = await open_context(browser, console, visitor, locale="en")
    tab = await window.new_page()
    await tab.goto(PAGE)
    await tab.get_by_label("Name", exact=True).fill("Entrepôt Laval")
    await end_sessions(console, tenant)

    await tab.get_by_role("button", name="Create").click()
    dialog = tab.get_by_role("dialog", name="Your session has ended")
    await expect(dialog).to_be_visible()
    await dialog.get_by_label("Password").fill("not it")
    await dialog.get_by_role("button", name="Sign in and go on").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("is wrong")
    assert await tab.get_by_label("Name", exact=True).input_value() == "Entrepôt Laval"
    await dialog.get_by_label("Password").fill(PASSWORD)
    await dialog.get_by_role("button", name="Sign in and go on").click()

    await expect(tab.get_by_role("heading", level=1)).to_have_text("Entrepôt Laval")
    assert await tab.evaluate("window.violations") == []
    await window.close()


async def test_without_a_script_a_page_asks_for_the_password_and_the_form_goes_on(
    console: ConsoleStack, suite: Suite
) -> None:
    tenant = await suite.create_tenant()
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    await visitor.get(PAGE)
    await end_sessions(console, tenant)
    fields = {"/name": "Dépôt", "/timezone": "America/Toronto", "/password": "a-canary"}

    asked = await visitor.client.post(PAGE, data=fields)
    again = {"sign_in_tenant": tenant.id, "sign_in_email": tenant.owner_email}
    wrong = await visitor.client.post(PAGE, data={**kept(asked), **again, "sign_in_password": "wrong"})
    done = await visitor.client.post(PAGE, data={**kept(wrong), **again, "sign_in_password": PASSWORD})

    assert (asked.status_code, wrong.status_code, done.status_code) == (401, 401, 303)
    assert "Your session has ended" in text_of(asked)
    assert "a-canary" not in asked.text
    assert "is wrong" in text_of(wrong)
    assert "Dépôt" in text_of(await visitor.get(done.headers["location"]))


async def test_what_a_page_fetches_by_itself_leaves_it_where_it_is(console: ConsoleStack) -> None:
    answer = await console.visitor().get("/jobs/news", headers=FRAGMENT)

    assert (answer.status_code, answer.headers["hx-reswap"], answer.text) == (401, "none", "")
    assert "hx-redirect" not in answer.headers


async def test_a_permission_that_was_withdrawn_is_named_with_who_can_give_it_and_the_form_is_kept(
    console: ConsoleStack, tenant: Tenant
) -> None:
    visitor, user_id = await member(console, tenant, "settings.locations.read", "settings.locations.write")
    page = await visitor.get(PAGE)
    token = page.text.partition('name="form_token" value="')[2].partition('"')[0]
    await grant(tenant, user_id, "settings.locations.read")

    refused = await visitor.client.post(PAGE, data={"/name": "Depot", "form_token": token})
    await grant(tenant, user_id, "settings.locations.read", "settings.locations.write")

    async def sent() -> httpx.Response | None:
        answer = await visitor.client.post(PAGE, data={**kept(refused), "form_token": token})
        return answer if answer.status_code == 303 else None

    assert refused.status_code == 403
    assert "Create and change locations ( settings.locations.write )" in text_of(refused)
    assert "The owner can give it to you" in text_of(refused)
    await eventually(sent, what="the permission is there again")


async def test_an_open_page_says_what_is_missing_and_keeps_what_it_shows(
    browser: Browser, console: ConsoleStack, suite: Suite
) -> None:
    tenant = await suite.create_tenant()
    visitor, user_id = await member(console, tenant, "orders.jobs.read", "settings.webhooks.read")
    endpoint = await tenant.create_endpoint()
    window = await open_context(browser, console, visitor, locale="en")
    tab = await window.new_page()
    await tab.goto(f"/webhooks/{endpoint['id']}")
    await grant(tenant, user_id, "orders.jobs.read")

    async def refused() -> bool:
        await tab.evaluate("document.dispatchEvent(new Event('live:look'))")
        return await tab.locator("#refused .alert").count() == 1

    await eventually(refused, what="the page has heard of it")

    await expect(tab.locator("#refused")).to_contain_text("See webhooks and deliveries")
    await expect(tab.locator("#refused")).to_contain_text("The owner can give it to you")
    await expect(tab.get_by_role("heading", name="Latest deliveries")).to_be_visible()
    assert await tab.evaluate("window.violations") == []
    await window.close()


async def test_a_suspended_company_is_told_so_and_its_people_can_sign_out(console: ConsoleStack, suite: Suite) -> None:
    tenant = await suite.create_tenant()
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    assert (await suite.platform.post(f"/v1/tenants/{tenant.id}/suspend")).status_code == 200

    async def told() -> httpx.Response | None:
        answer = await visitor.get("/locations")
        return answer if answer.status_code == 403 else None

    page = await eventually(told, what="the company is suspended")
    left = await visitor.send("/locations", "/sign-out", {})

    assert "Your company is suspended." in text_of(page)
    assert "permission" not in text_of(page)
    assert left.headers["location"] == "/sign-in"


@pytest.fixture(scope="module")
async def after_trial(console: ConsoleStack, suite: Suite) -> tuple[Visitor, Visitor]:
    """The owner, and a member of staff who cannot pay, of a company whose trial has ended."""
    tenant = await suite.create_tenant()
    owner = await console.signed_in(tenant.id, tenant.owner_email)
    staff, _ = await member(console, tenant, "settings", "orders")
    await end_trial(tenant)
    return owner, staff


async def test_after_a_trial_pages_say_once_why_and_what_to_do(after_trial: tuple[Visitor, Visitor]) -> None:
    owner, staff = after_trial
    home = await owner.get("/")
    page = await owner.get("/merchants")
    of_staff = await staff.get("/merchants")

    assert (home.status_code, page.status_code, of_staff.status_code) == (200, 402, 402)
    for answer in (home, page):
        main = answer.text.partition("<main")[2]
        assert (main.count("A subscription is needed"), main.count("Choose a plan")) == (1, 1)
    assert "Choose a plan" not in text_of(of_staff)
    assert "The owner, or whoever manages billing, can choose a plan." in text_of(of_staff)


async def test_after_a_trial_an_open_page_keeps_what_it_shows_and_a_form_what_was_entered(
    after_trial: tuple[Visitor, Visitor],
) -> None:
    owner, _ = after_trial

    fragment = await owner.get("/jobs/news", headers=FRAGMENT)
    form = await owner.send("/", PAGE, {"/name": "Depot", "/timezone": "America/Toronto"})

    assert (fragment.status_code, fragment.headers["hx-retarget"]) == (402, "#refused")
    assert "The trial has ended." in text_of(fragment)
    assert kept(form) == {"/name": "Depot", "/timezone": "America/Toronto"}
