"""What people do most, with the keyboard alone: no mouse is used anywhere here."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.harness.bodies import PASSWORD, email, smallest_job
from tests.harness.console import ConsoleStack, open_context
from tests.harness.mailbox import Mailbox
from tests.harness.people import Merchant, Tenant
from tests.harness.receiver import Receiver
from tests.harness.waiting import eventually

TABS_MAX = 150
Role = Literal["button", "checkbox", "combobox", "link", "option", "switch", "textbox"]


@dataclass
class Keyboard:
    """Somebody at a page, without a mouse."""

    tab: Page

    async def open(self, words: str, heading: str) -> None:
        """Go to a page with the palette."""
        await self.choose(words)
        await self.sees(heading)

    async def choose(self, words: str) -> None:
        """Do what the palette has under these words."""
        await self.press("Control+k")
        await expect(self.tab.get_by_role("dialog").get_by_role("searchbox")).to_be_focused()
        await self.type(words)
        await self.press("Enter")

    async def sees(self, heading: str) -> None:
        await expect(self.tab.get_by_role("heading", level=1)).to_have_text(heading)

    async def is_told(self, words: str) -> None:
        await expect(self.tab.get_by_role("status").filter(has_text=words)).to_be_visible()

    async def reach(self, target: Locator) -> None:
        """Press Tab until this is where one is."""
        await expect(target).to_be_visible()
        if await self.tab.evaluate("document.activeElement === document.body"):
            await self.press("Tab")
            await expect(self.tab.get_by_role("link", name="Skip to content")).to_be_focused()
            await self.press("Enter")
        for _ in range(TABS_MAX):
            if await target.evaluate("element => element === document.activeElement"):
                return
            await self.press("Tab")
        raise AssertionError(f"{target} is not reached with Tab")

    async def reach_named(self, role: Role, name: str | re.Pattern[str]) -> None:
        await self.reach(self.tab.locator("main").get_by_role(role, name=name).first)

    async def follow(self, role: Role, name: str | re.Pattern[str]) -> None:
        """Press Enter on a link or a button."""
        await self.reach_named(role, name)
        await self.press("Enter")

    async def fill(self, label: str, words: str) -> None:
        await self.reach(self.tab.locator("main").get_by_label(label).first)
        await self.press("Control+a")
        await self.type(words)

    async def type(self, words: str) -> None:
        await self.tab.keyboard.type(words)

    async def press(self, key: str) -> None:
        await self.tab.keyboard.press(key)


@pytest.fixture(scope="module")
async def merchant(tenant: Tenant) -> Merchant:
    return await tenant.create_merchant(business_name="Meubles Acme")


@pytest.fixture(scope="module")
async def endpoint_id(tenant: Tenant, merchant: Merchant, hooks: Receiver) -> str:
    """An endpoint that has got the event of a job."""
    made = await tenant.create_endpoint(hooks.url("/keyboard"))
    await tenant.owner.at("jobs").create("/v1/jobs", smallest_job(merchant_id=merchant.id, reference_id="K-1"))

    async def delivered() -> bool:
        return bool((await tenant.owner.at("webhooks").read("/v1/deliveries?status=delivered"))["data"])

    await eventually(delivered, what="the webhook is delivered")
    return str(made["id"])


@pytest.fixture(scope="module")
async def owner(browser: Browser, console: ConsoleStack, tenant: Tenant) -> AsyncIterator[Keyboard]:
    """The owner, at the first page."""
    visitor = await console.signed_in(tenant.id, tenant.owner_email)
    window = await open_context(browser, console, visitor, locale="en")
    tab = await window.new_page()
    await tab.goto("/")
    yield Keyboard(tab)
    assert await tab.evaluate("window.violations") == []
    await window.close()


@pytest.fixture(scope="module")
async def own_merchant(
    browser: Browser, console: ConsoleStack, tenant: Tenant, merchant: Merchant
) -> AsyncIterator[Keyboard]:
    """The merchant, at its first page."""
    visitor = await console.signed_in(tenant.id, str(merchant.document["login_email"]))
    window = await open_context(browser, console, visitor, locale="en")
    tab = await window.new_page()
    await tab.goto("/")
    yield Keyboard(tab)
    await window.close()


async def test_signing_in_and_out(browser: Browser, console: ConsoleStack, tenant: Tenant) -> None:
    address = email("typing")
    await tenant.create_staff("settings", email=address)
    window = await open_context(browser, console, locale="en")
    person = Keyboard(await window.new_page())
    await person.tab.goto("/locations")
    for label, words in (("Company", tenant.id), ("E-mail", address), ("Password", PASSWORD)):
        await person.fill(label, words)
    await person.press("Enter")
    await person.sees("Locations")

    # Not in the content: it is reached from the last of it.
    await person.reach(person.tab.get_by_role("button", name="Sign out").first)
    await person.press("Enter")

    await person.is_told("You have signed out.")
    await window.close()


async def test_a_merchant_is_found_by_a_search(owner: Keyboard, tenant: Tenant) -> None:
    await tenant.create_merchant(business_name="Librairie Zoé")
    await owner.open("merchants", "Merchants")

    await owner.press("/")
    await owner.type("zoe")
    await owner.press("Enter")
    await owner.follow("link", "Librairie Zoé")

    await owner.sees("Librairie Zoé")


async def test_a_merchant_becomes_level_2_and_gets_access(owner: Keyboard, tenant: Tenant) -> None:
    merchant = await tenant.create_merchant(business_name="Petit Café", level=1, api_access=False)
    await owner.open("merchants", "Merchants")
    await owner.follow("link", "Petit Café")
    await owner.sees("Petit Café")

    await owner.follow("link", "Make Level 2…")
    await owner.sees("Make Petit Café Level 2?")
    await owner.follow("button", "Make Level 2")
    await owner.sees("Petit Café")
    await owner.reach_named("switch", "API access of Petit Café")
    await owner.press("Space")

    await expect(owner.tab.get_by_role("switch", name="API access of Petit Café")).to_be_checked()
    assert (await tenant.owner.read(f"/v1/merchants/{merchant.id}"))["api_access"] is True


async def test_a_merchant_sees_its_key_and_replaces_it(own_merchant: Keyboard) -> None:
    shown = own_merchant.tab.get_by_role("status").filter(has_text="Your API Auth Key").locator("code")
    await own_merchant.open("api", "API settings")

    await own_merchant.fill("Your password", PASSWORD)
    await own_merchant.press("Enter")
    await expect(shown).to_contain_text("wbk_")
    key = await shown.inner_text()
    await own_merchant.reach(own_merchant.tab.get_by_label("The old key works for"))
    await own_merchant.press("ArrowDown")
    await own_merchant.press("Tab")
    await own_merchant.type(PASSWORD)
    await own_merchant.press("Enter")

    await expect(shown).not_to_have_text(key)


async def test_a_location_is_created(owner: Keyboard) -> None:
    await owner.open("locations", "Locations")
    await owner.follow("link", "New location")

    await owner.fill("Name", "Laval")
    await owner.press("Enter")

    await owner.sees("Laval")


async def test_an_endpoint_is_created_and_tested(owner: Keyboard, hooks: Receiver) -> None:
    await owner.open("webhooks", "Webhooks")
    await owner.follow("link", "New endpoint")
    await owner.fill("Address", hooks.url("/typed"))
    await owner.follow("button", "Create endpoint")
    await owner.sees(hooks.url("/typed"))

    await owner.follow("button", "Send test")

    await expect(owner.tab.get_by_role("heading", name="The test was accepted")).to_be_visible()


@pytest.mark.usefixtures("endpoint_id")
async def test_a_delivery_is_looked_at_and_sent_again(owner: Keyboard, hooks: Receiver) -> None:
    arrived = len(hooks.at("/keyboard"))
    await owner.open("deliveries", "Deliveries")

    await owner.follow("link", "job.created")
    await owner.sees("job.created")
    await owner.follow("button", "Resend")

    await owner.is_told("Sent again.")
    await hooks.wait_for(lambda: len(hooks.at("/keyboard")) > arrived)


async def test_a_replay_is_tried_and_started(owner: Keyboard, endpoint_id: str) -> None:
    await owner.tab.goto(f"/webhooks/{endpoint_id}")
    await owner.follow("link", "Replay…")
    await owner.sees("Replay")
    await owner.reach(owner.tab.get_by_label("What"))
    await owner.type("All")
    await owner.follow("button", "Dry run")
    await expect(owner.tab.locator("main")).to_contain_text("would be sent.")
    tried = owner.tab.url

    await owner.follow("button", re.compile(r"Send \d+ event"))

    await expect(owner.tab).not_to_have_url(tried)
    await owner.sees("Replay")


async def test_a_job_is_created(owner: Keyboard, merchant: Merchant) -> None:
    await owner.open("jobs", "Jobs")
    await owner.follow("link", "New job")
    await owner.reach(owner.tab.get_by_label("Merchant"))
    await owner.type("Meubles")
    await owner.fill("Reference", "K-2")
    await owner.fill("Phone", "+15145550100")
    await owner.fill("Address in one line", "1 Rue Sherbrooke, Montréal")
    await owner.press("Enter")

    await owner.sees("K-2")
    await expect(owner.tab.locator("main")).to_contain_text("Meubles Acme")


async def test_a_file_is_imported(owner: Keyboard, merchant: Merchant, tmp_path: Path) -> None:
    file = tmp_path / "jobs.csv"
    file.write_text(
        "merchant_id,reference_id,contact.first_name,contact.phone,address.raw\n"
        f"{merchant.id},K-3,Ada,+15145550100,1 Rue X\n"
    )
    await owner.open("imports", "Imports")
    await owner.follow("link", "Import a file")
    async with owner.tab.expect_file_chooser() as chooser:
        await owner.reach(owner.tab.locator("input[type=file]"))
        await owner.press("Enter")
    await (await chooser.value).set_files(file)
    await expect(owner.tab.locator("#check")).to_contain_text("The first row is fine.")

    await owner.follow("button", "Import")

    await expect(owner.tab.locator("main")).to_contain_text("1 job created.")


async def test_somebody_is_invited_with_permissions(owner: Keyboard, box: Mailbox) -> None:
    address = email("typed")
    await owner.open("staff", "Staff Accounts")
    await owner.follow("link", "Invite")
    for label, words in (("E-mail", address), ("First name", "Léa"), ("Last name", "Roy")):
        await owner.fill(label, words)
    section = owner.tab.get_by_role("group", name="Orders")
    await owner.reach(section.get_by_role("checkbox").first)
    await owner.press("Space")
    await owner.press("Enter")

    await owner.sees("Léa Roy")
    await expect(owner.tab.get_by_role("group", name="Orders").get_by_role("checkbox").first).to_be_checked()
    assert await box.wait_for(address)


async def test_language_and_theme_are_changed_with_the_palette(owner: Keyboard) -> None:
    html = owner.tab.locator("html")
    await owner.open("locations", "Locations")
    await owner.choose("dark")
    await expect(html).to_have_class("dark")
    await owner.choose("français")
    await expect(html).to_have_attribute("lang", "fr")
    await owner.sees("Établissements")

    await owner.choose("english")
    await expect(html).to_have_attribute("lang", "en")
    await owner.press("Control+k")
    await owner.type("theme")
    await owner.press("ArrowDown")
    await expect(owner.tab.get_by_role("button", name="Light theme")).to_be_focused()
    await owner.press("Enter")
    await expect(html).not_to_have_class("dark")
