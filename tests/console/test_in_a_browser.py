"""What only a browser can do wrong: two tabs at once, two presses, going back, pages elsewhere."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from playwright.async_api import Browser, BrowserContext, expect

from tests.harness.bodies import PASSWORD, email
from tests.harness.console import ConsoleStack, open_context
from tests.harness.effort import FACTOR
from tests.harness.people import Tenant

ROUNDS = 10 * FACTOR


@pytest.fixture
async def window(browser: Browser, console: ConsoleStack, tenant: Tenant) -> AsyncIterator[BrowserContext]:
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    opened = await open_context(browser, console, visitor, locale="en")
    yield opened
    await opened.close()


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


@pytest.mark.fuzz
async def test_two_tabs_that_renew_at_once_stay_signed_in(window: BrowserContext, console: ConsoleStack) -> None:
    tabs = [await window.new_page(), await window.new_page()]
    connection = await asyncpg.connect(console.database)
    for _ in range(ROUNDS):
        await connection.execute("UPDATE browser_sessions SET token_expires_at = now()")
        await asyncio.gather(*(tab.goto("/settings/sessions") for tab in tabs))
        for tab in tabs:
            await expect(tab.get_by_role("heading", level=1)).to_have_text("Your sessions")
    await connection.close()


async def test_a_session_that_ended_elsewhere_leads_back_to_where_one_was(
    browser: Browser, console: ConsoleStack, tenant: Tenant
) -> None:
    address = email("staff")
    await tenant.create_staff("orders", email=address)
    here, elsewhere = [await console.signed_in(tenant.id, address) for _ in range(2)]
    window = await open_context(browser, console, here, locale="en")
    tab = await window.new_page()
    await tab.goto("/settings/sessions")
    await elsewhere.send("/settings/sessions", "/sign-out-everywhere", {})

    await tab.get_by_role("link", name="Jobs").first.click()
    await expect(tab.get_by_role("heading", level=1)).to_have_text("Sign in")
    await tab.get_by_label("Company").fill(tenant.id)
    await tab.get_by_label("E-mail").fill(address)
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Sign in").click()

    await expect(tab.get_by_role("heading", level=1)).to_have_text("Jobs")
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
