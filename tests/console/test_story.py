"""The story of the demo, clicked through by five people: owner, staff, merchants of both levels, operator."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.harness.bodies import PASSWORD, email, smallest_job
from tests.harness.client import basic
from tests.harness.console import ConsoleStack, open_context
from tests.harness.mailbox import Mailbox
from tests.harness.people import Tenant
from tests.harness.receiver import Receiver
from tests.harness.suite import Suite, end_trial


@dataclass
class Person:
    """Somebody with a browser of their own."""

    tab: Page

    @property
    def main(self) -> Locator:
        return self.tab.locator("main")

    async def go(self, *names: str) -> None:
        """Click a place of the menu, then links of the pages behind it."""
        await self.tab.get_by_role("navigation", name="Main").get_by_role("link", name=names[0], exact=True).click()
        for name in names[1:]:
            await self.follow(name)

    async def follow(self, name: str) -> None:
        await self.main.get_by_role("link", name=name, exact=True).first.click()

    async def press(self, name: str) -> None:
        await self.main.get_by_role("button", name=name, exact=True).first.click()

    async def fill(self, **fields: str) -> None:
        for label, value in fields.items():
            await self.main.get_by_label(label.replace("_", " ")).first.fill(value)

    async def sign_in(self, company: str, address: str) -> None:
        await self.tab.goto("/sign-in")
        await self.fill(Company=company, Password=PASSWORD, **{"E-mail": address})
        await self.press("Sign in")
        await self.is_at("Home")

    async def is_at(self, heading: str) -> None:
        await expect(self.tab.get_by_role("heading", level=1)).to_have_text(heading)

    async def reads(self, words: str) -> None:
        await expect(self.main).to_contain_text(words)

    async def has_place(self, name: str) -> bool:
        menu = self.tab.get_by_role("navigation", name="Main")
        return await menu.get_by_role("link", name=name, exact=True).count() > 0


NewPerson = Callable[[], Awaitable[Person]]


@pytest.fixture
async def arrive(browser: Browser, console: ConsoleStack) -> AsyncIterator[NewPerson]:
    """Makes a person who has not signed in."""
    async with AsyncExitStack() as windows:

        async def new() -> Person:
            window = await windows.enter_async_context(await open_context(browser, console, locale="en"))
            return Person(await window.new_page())

        yield new


async def test_the_story_of_the_demo(
    arrive: NewPerson, console: ConsoleStack, suite: Suite, box: Mailbox, hooks: Receiver
) -> None:
    company = await suite.create_tenant()
    owner, nord, cafe, lea, operator = [await arrive() for _ in range(5)]
    nord_address, cafe_address, lea_address = email("nord"), email("cafe"), email("lea")

    await the_owner_opens_for_business(owner, company, nord_address, cafe_address)
    await owner.go("Webhooks", "New endpoint")
    await owner.fill(Address=hooks.url("/story"))
    await owner.press("Create endpoint")
    await owner.reads("Nothing was sent yet")

    await nord.sign_in(company.id, nord_address)
    account_id, key = await the_merchant_sees_its_key(nord)
    answer = await call(console, "POST", account_id, key)
    assert answer.status_code == 201
    # The owner has the page of the endpoint open: the delivery comes by itself.
    row = owner.main.get_by_role("row").filter(has_text="job.created")
    await expect(row).to_contain_text("200")
    assert hooks.at("/story")[0].headers["webhook-signature"].startswith("v1,")
    await nord.go("Jobs", "S-1")
    await nord.is_at("S-1")

    await cafe.sign_in(company.id, cafe_address)
    await cafe.go("API")
    await cafe.reads("You have no API access")
    assert not await cafe.has_place("Webhooks")

    await owner.go("Staff Accounts", "Invite")
    await owner.fill(First_name="Léa", Last_name="Roy", **{"E-mail": lea_address})
    for section in ("Home", "Reports"):
        await owner.main.get_by_role("group", name=section, exact=True).get_by_role("checkbox").first.check()
    await owner.press("Send the invitation")
    await owner.is_at("Léa Roy")
    await an_invited_person_comes_and_may_not_see_jobs(lea, box, company, lea_address)

    await the_operator_acts_and_suspends(operator, suite, company)
    await owner.tab.goto("/merchants")
    await owner.is_at("Nothing is open to you now")
    await operator.press("Activate")
    await operator.reads("Active")
    await owner.tab.context.clear_cookies()

    await owner.sign_in(company.id, company.owner_email)
    await the_owner_revokes(owner)
    assert (await call(console, "GET", account_id, key)).status_code in (401, 403)
    await nord.tab.goto("/api-settings")
    await nord.reads("You have no API access")

    await the_trial_ends_and_is_extended(owner, operator, company)


async def the_owner_opens_for_business(owner: Person, company: Tenant, nord: str, cafe: str) -> None:
    await owner.sign_in(company.id, company.owner_email)
    await owner.reads("Five steps to your first webhook")
    await owner.go("Locations", "New location")
    await owner.fill(Name="Toronto")
    await owner.press("Create location")
    await owner.is_at("Toronto")
    for name, address, level in (("Lampes du Nord", nord, "2"), ("Petit Café", cafe, "1")):
        await owner.go("Merchants", "New merchant")
        await owner.fill(Business_name=name, Password=PASSWORD, **{"Sign-in e-mail": address})
        await owner.main.get_by_label("Level").select_option(level)
        await owner.press("Create merchant")
        await owner.is_at(name)
    await owner.reads("Only Level 2 can have API access.")
    await owner.go("Merchants")
    access = owner.tab.get_by_role("switch", name="API access of Lampes du Nord")
    await access.click()
    await expect(access).to_be_checked()


async def the_merchant_sees_its_key(merchant: Person) -> tuple[str, str]:
    await merchant.go("API")
    account_id = await merchant.main.locator("dd code").first.inner_text()
    await merchant.fill(Your_password=PASSWORD)
    await merchant.press("Show for 30 seconds")
    shown = merchant.main.get_by_role("status").locator("code")
    await expect(shown).to_contain_text("wbk_")
    return account_id, await shown.inner_text()


async def call(console: ConsoleStack, method: str, account_id: str, key: str) -> httpx.Response:
    """What the merchant's program does, at the console's own address."""
    async with httpx.AsyncClient(base_url=console.url, trust_env=False, timeout=30) as program:
        body = smallest_job(reference_id="S-1") if method == "POST" else None
        return await program.request(method, "/v1/jobs", headers=basic(account_id, key), json=body)


async def an_invited_person_comes_and_may_not_see_jobs(
    person: Person, box: Mailbox, company: Tenant, address: str
) -> None:
    link = urlsplit((await box.wait_for(address))[-1].link)
    await person.tab.goto(f"{link.path}#{link.fragment}")
    await person.fill(New_password=PASSWORD)
    await person.main.get_by_role("button").click()
    await person.is_at("Sign in")
    await person.sign_in(company.id, address)
    assert await person.has_place("Reports")
    assert not await person.has_place("Jobs")
    await person.tab.goto("/jobs")
    await person.is_at("You may not do this")
    await person.reads("orders.jobs.read")


async def the_operator_acts_and_suspends(operator: Person, suite: Suite, company: Tenant) -> None:
    await operator.tab.goto("/operator/sign-in")
    await operator.fill(Platform_key=suite.platform.headers["X-Api-Key"])
    await operator.press("Continue")
    await operator.is_at("Tenants")
    await operator.tab.goto(f"/operator/tenants/{company.id}")
    await operator.press("Act in this tenant")
    band = operator.tab.get_by_role("region", name="Operator")
    await expect(band).to_contain_text(company.name)
    await operator.go("Merchants")
    await operator.reads("Lampes du Nord")
    await band.get_by_role("button", name="Leave").click()
    await operator.tab.goto(f"/operator/tenants/{company.id}")
    await operator.main.get_by_text("Suspend…").click()
    await operator.press("Suspend now")
    await operator.reads("Suspended")


async def the_owner_revokes(owner: Person) -> None:
    await owner.go("Merchants")
    await owner.tab.get_by_role("switch", name="API access of Lampes du Nord").click()
    await owner.is_at("Revoke the API access of Lampes du Nord?")
    await owner.press("Revoke API access")
    await owner.reads("In force everywhere")


async def the_trial_ends_and_is_extended(owner: Person, operator: Person, company: Tenant) -> None:
    await end_trial(company)
    await owner.go("Merchants")
    await owner.is_at("A subscription is needed")
    await owner.follow("Choose a plan")
    await owner.reads("Your trial ended on")
    await operator.tab.reload()
    await operator.press("Extend the trial")
    await operator.reads("The trial ends on")
    await owner.go("Merchants")
    await owner.is_at("Merchants")
    await owner.reads("Petit Café")
