"""What only a browser can do wrong: scripts, two presses, going back, texts of strangers."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from playwright.async_api import Browser, BrowserContext, expect

from tests.harness.bodies import PASSWORD
from tests.harness.console import ConsoleStack, open_context
from tests.harness.people import Tenant
from tests.harness.suite import Suite

HOSTILE = "<img src=x onerror=alert(1)> \"'</script> {{ 7*7 }}"


@pytest.fixture
async def window(browser: Browser, console: ConsoleStack, tenant: Tenant) -> AsyncIterator[BrowserContext]:
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    opened = await open_context(browser, console, visitor, locale="en")
    yield opened
    await opened.close()


async def test_somebody_signs_in_with_the_keyboard_alone(
    browser: Browser, console: ConsoleStack, tenant: Tenant
) -> None:
    window = await open_context(browser, console, locale="en")
    tab = await window.new_page()
    await tab.goto("/settings/company")
    await tab.get_by_label("Company").focus()
    for word in (tenant.id, tenant.owner_email, PASSWORD):
        await tab.keyboard.type(word)
        await tab.keyboard.press("Tab")
    await tab.keyboard.press("Enter")

    await expect(tab.get_by_role("heading", level=1)).to_have_text("Company")
    await tab.keyboard.press("Control+k")
    await expect(tab.get_by_role("dialog")).to_be_visible()
    await tab.keyboard.type("Home")
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_role("heading", level=1)).to_have_text("Home")
    assert await tab.evaluate("window.violations") == []
    await window.close()


async def test_two_presses_of_a_button_are_one_change(window: BrowserContext, tenant: Tenant) -> None:
    tab = await window.new_page()
    await tab.goto("/settings/company")
    before = (await tenant.owner.read("/v1/tenant"))["version"]
    await tab.get_by_label("Time zone").fill("America/Toronto")

    await tab.locator("#company button[type=submit]").dblclick()

    await expect(tab.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    assert (await tenant.owner.read("/v1/tenant"))["version"] == before + 1
    # Back after the form: the page is there, and nothing is sent again.
    await tab.go_back()
    await expect(tab.get_by_role("heading", level=1)).to_have_text("Company")
    assert (await tenant.owner.read("/v1/tenant"))["version"] == before + 1


async def test_a_session_that_ended_elsewhere_leads_back_to_where_one_was(
    window: BrowserContext, console: ConsoleStack, tenant: Tenant
) -> None:
    tab = await window.new_page()
    await tab.goto("/settings/sessions")
    connection = await asyncpg.connect(console.database)
    await connection.execute("DELETE FROM browser_sessions")
    await connection.close()

    await tab.goto("/settings/company")
    await expect(tab.get_by_role("heading", level=1)).to_have_text("Sign in")
    await tab.get_by_label("Company").fill(tenant.id)
    await tab.get_by_label("E-mail").fill(tenant.owner_email)
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Sign in").click()

    await expect(tab.get_by_role("heading", level=1)).to_have_text("Company")


async def test_the_texts_of_strangers_stay_texts(browser: Browser, console: ConsoleStack, suite: Suite) -> None:
    tenant = await suite.create_tenant()
    await suite.platform.patch(f"/v1/tenants/{tenant.id}", {"name": HOSTILE[:60]})
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    window = await open_context(browser, console, visitor, locale="en")
    tab = await window.new_page()
    alerts: list[str] = []
    tab.on("dialog", lambda dialog: alerts.append(dialog.message))

    for path in ("/", "/settings/company", f"/find?q={HOSTILE}"):
        await tab.goto(path)
        assert await tab.locator("img").count() == 0
        assert await tab.evaluate("window.violations") == []
    assert "49" not in await tab.inner_text("main")
    assert alerts == []
    await window.close()


async def test_the_token_of_a_mail_leaves_the_address_and_is_never_sent_to_the_server_by_a_link(
    browser: Browser, console: ConsoleStack
) -> None:
    window = await open_context(browser, console, locale="en")
    tab = await window.new_page()
    await tab.goto("/password-reset#token=wbp_a-canary")

    await expect(tab.locator("input[name='/token']")).to_have_value("wbp_a-canary")
    await expect(tab.locator("input[name='/token']")).to_be_hidden()
    assert "canary" not in tab.url
    assert "canary" not in console.log
    await window.close()


async def test_a_page_elsewhere_cannot_send_our_forms(window: BrowserContext, console: ConsoleStack) -> None:
    tab = await window.new_page()
    answers: list[int] = []
    tab.on("response", lambda answer: answers.append(answer.status) if answer.url.endswith("/sign-out") else None)
    elsewhere = f"<form method=post action='{console.url}/sign-out'><button>Win</button></form>"
    await tab.route("http://elsewhere.example/", lambda route: route.fulfill(body=elsewhere, content_type="text/html"))
    await tab.goto("http://elsewhere.example/")

    await tab.get_by_role("button").click()
    await expect(tab.get_by_role("heading", level=1)).to_have_text("This form is out of date")

    assert answers == [403]
    await asyncio.gather(tab.goto("/"))
    await expect(tab.get_by_role("heading", level=1)).to_have_text("Home")
