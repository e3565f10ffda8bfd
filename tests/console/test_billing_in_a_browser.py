"""A purchase by card in a real browser: from the page that asks for a subscription, over the payment provider's own page, and back."""

from datetime import datetime

from playwright.async_api import Browser, expect

from tests.harness.client import Api
from tests.harness.console import ConsoleStack, open_context
from tests.harness.payments import FakeServer
from tests.harness.suite import Suite
from tests.harness.waiting import eventually

CLOCK = "/v1/billing/test-clock"
PAID_WITHIN_MS = 90_000
"""On a busy machine the charge may take its time."""
PRICE = "CA$51.45"
"""A month of the small plan, with GST."""


async def end_trial_by_the_clock(owner: Api) -> None:
    await owner.create(CLOCK)
    ends_at = datetime.fromisoformat((await owner.read("/v1/billing/subscription"))["trial_ends_at"])
    await owner.create(f"{CLOCK}/advance", {"to": ends_at.isoformat()})

    async def ready() -> bool:
        return bool((await owner.read(CLOCK))["status"] == "ready")

    await eventually(ready, what="the trial is over")


async def test_an_owner_without_a_subscription_buys_one_by_card_and_goes_on(
    browser: Browser, console: ConsoleStack, suite: Suite, payments: FakeServer
) -> None:
    tenant = await suite.create_tenant()
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    await end_trial_by_the_clock(tenant.owner.at("billing"))
    window = await open_context(browser, console, visitor, locale="en")
    tab = await window.new_page()
    heading = tab.get_by_role("heading", level=1)

    refused = await tab.goto("/merchants")
    assert refused is not None
    assert refused.status == 402
    await tab.locator("main a[href='/billing']").click()
    await tab.get_by_role("link", name="Choose Starter", exact=True).click()
    await expect(tab.locator("main")).to_contain_text("You have given no payment method")
    # The policy of our pages lets no form lead to another host: a page of ours stands between, and goes on by itself.
    await tab.get_by_role("button", name="Give a payment method").click()
    await expect(heading).to_have_text("Give a payment method")
    await tab.wait_for_url(f"{payments.url}/pages/**")
    await tab.get_by_role("button", name="A card that pays", exact=True).click()

    await tab.wait_for_url(f"{console.url}/billing?checkout_session=chk_*")
    await expect(tab.get_by_text("Your payment method was given. Now choose a plan.")).to_be_visible()
    await tab.get_by_role("link", name="Choose Starter", exact=True).click()
    await expect(tab.locator("table.cost")).to_contain_text(PRICE)
    await tab.get_by_role("button", name=f"Buy, and pay {PRICE}").click()

    # The page finds out by itself that the payment has arrived.
    await expect(tab.get_by_text("Starter renews on")).to_be_visible(timeout=PAID_WITHIN_MS)
    await expect(tab.get_by_role("heading", name="A subscription is needed")).to_have_count(0)
    assert await tab.evaluate("window.violations") == []
    taken = await suite.client.get(f"{payments.url}/charges")
    assert [one["amount"] for one in taken.json()["data"].values()].count(5145) == 1
    await tab.goto("/merchants")
    await expect(heading).to_have_text("Merchants")
    await window.close()
