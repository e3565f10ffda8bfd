"""Every page that is declared, in a real browser: in English, wide and light, and in French, narrow and dark.

The company's texts are hostile: they stay texts, everywhere. Two presses of a button are one. No page has a secret that nobody asked for.
`make fuzz` opens them in every language at every width in every colour scheme.
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Literal

import pytest
from playwright.async_api import Browser, BrowserContext, ViewportSize

from console.declarations import Page
from console.pages import PAGES
from tests.harness.bodies import HOSTILE
from tests.harness.console import (
    AXE,
    PRESS_TWICE,
    ConsoleStack,
    Stock,
    Visitor,
    accessibility_faults,
    open_context,
)
from tests.harness.effort import FACTOR

WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=360, height=740)
Look = tuple[str, ViewportSize, Literal["light", "dark"]]
FEW: list[Look] = [("en", WIDE, "light"), ("fr", NARROW, "dark")]
ALL: list[Look] = list(product(("en", "fr"), (WIDE, NARROW), ("light", "dark")))
LOOKS = FEW if FACTOR == 1 else ALL
SHOWN = [page for page in PAGES if page.sample is not None]


def person_for(page: Page) -> str:
    return {"anybody": "nobody", "merchant": "merchant", "operator": "operator"}.get(page.audience, "owner")


@pytest.fixture(scope="module")
async def people(console: ConsoleStack, stock: Stock) -> dict[str, Visitor | None]:
    """Who opens the pages."""
    owner = await console.signed_in(stock.tenant.id, stock.tenant.owner_email, **{"User-Agent": HOSTILE})
    await owner.send("/jobs", "/jobs/views", {"name": HOSTILE[:40], "query": "type=pickup"})
    return {
        "nobody": None,
        "owner": owner,
        "merchant": await console.signed_in(stock.tenant.id, stock.merchant_email),
        "operator": await console.operating(),
    }


@pytest.fixture(scope="module")
async def windows(
    browser: Browser, console: ConsoleStack, people: dict[str, Visitor | None]
) -> AsyncIterator[dict[tuple[str, str], BrowserContext]]:
    """A window for each person and language."""
    opened = {
        (name, language): await open_context(browser, console, visitor, locale=language)
        for name, visitor in people.items()
        for language in ("en", "fr")
    }
    for window in opened.values():
        await window.add_init_script(path=AXE)
    yield opened
    for window in opened.values():
        await window.close()


@pytest.mark.fuzz
@pytest.mark.parametrize("page", SHOWN, ids=[page.path for page in SHOWN])
async def test_a_page_is_for_everybody_at_every_width(
    page: Page,
    people: dict[str, Visitor | None],
    windows: dict[tuple[str, str], BrowserContext],
    stock: Stock,
) -> None:
    address, secrets = stock.fill(page.sample or ""), [*stock.secrets, *cookies_of(people)]
    found = await asyncio.gather(
        *(faults_of(windows[person_for(page), language], language, address, secrets) for language in ("en", "fr"))
    )

    assert [fault for faults in found for fault in faults] == []


async def test_no_secret_is_in_the_log(console: ConsoleStack, people: dict[str, Visitor | None], stock: Stock) -> None:
    log = console.log

    assert "GET" in log
    assert [secret for secret in [*stock.secrets, *cookies_of(people)] if secret in log] == []


def cookies_of(people: dict[str, Visitor | None]) -> list[str]:
    return [visitor.cookie for visitor in people.values() if visitor is not None]


async def faults_of(window: BrowserContext, language: str, address: str, secrets: list[str]) -> list[str]:
    """What is wrong with a page in one language."""
    tab = await window.new_page()
    faults: list[str] = []
    tab.on("dialog", lambda dialog: faults.append(f"a script of a stranger says {dialog.message}"))
    answer = await tab.goto(address)
    assert answer is not None
    assert answer.status == 200, await tab.content()
    assert await tab.get_attribute("html", "lang") == language
    assert await tab.locator("h1").count() == 1
    faults += ["a picture of a stranger"] * await tab.locator("img").count()
    html = await answer.text()
    faults += [f"shows the secret {secret}" for secret in secrets if secret in html]
    for _, size, scheme in (look for look in LOOKS if look[0] == language):
        width = size["width"]
        await tab.set_viewport_size(size)
        await tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        faults += [f"{language} {width} {scheme}: {fault}" for fault in await accessibility_faults(tab)]
        wider = await tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        faults += [f"{language}: {wider} px wider than {width}"] * (wider > 0)
    faults += await tab.evaluate("window.violations")
    faults += await tab.evaluate(PRESS_TWICE)
    await tab.close()
    return faults
