"""The console beside the whole suite, people who use it without a script, and a browser that runs everything."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from deploy import browser as browsers
from deploy.devstack.forks import Forker
from deploy.devstack.processes import free_ports
from tests.harness.bodies import PASSWORD, secret_32, smallest_job
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack, migrated
from tests.harness.suite import Process, Suite
from tests.harness.waiting import eventually

AXE = browsers.MODULES / "axe-core/axe.min.js"
REPORTS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
"""Collects what the policy of the page has refused."""
TEXT_FIELD = re.compile(r'name="form_token" value="([^"]+)"')


class ConsoleStack:
    """The console as a process of its own, on a suite."""

    def __init__(
        self,
        suite: Suite,
        backing: BackingStack,
        home: Path,
        forker: Forker | None,
        environment: Mapping[str, str] | None = None,
    ):
        (port,) = free_ports(1)
        self.suite = suite
        self.url = f"http://127.0.0.1:{port}"
        self.database = migrated(backing, "console")
        self.environment = {
            "CONSOLE_DATABASE_URL": self.database,
            "CONSOLE_PORT": str(port),
            "CONSOLE_BASE_URL": self.url,
            "CONSOLE_ALLOW_HTTP": "true",
            "CONSOLE_SEALING_KEYS": f"1:{secret_32()}",
            **{f"CONSOLE_{name.upper()}_URL": url for name, url in suite.urls.items()},
            **(environment or {}),
        }
        self._clients: list[httpx.AsyncClient] = []
        self.process = Process("console", self.environment, home / "console.log", self.url, forker)

    async def start(self) -> None:
        self.process.start()
        await self.process.ready()

    async def stop(self) -> None:
        for client in self._clients:
            await client.aclose()
        await asyncio.to_thread(self.process.stop)

    @property
    def log(self) -> str:
        return self.process.log.read_text()

    def visitor(self, **headers: str) -> "Visitor":
        """Somebody who has not signed in."""
        visitor = Visitor(self, headers)
        self._clients.append(visitor.client)
        return visitor

    async def signed_in(self, tenant: str, email: str, password: str = PASSWORD, **headers: str) -> "Visitor":
        """Somebody who has."""
        visitor = self.visitor(**headers)
        answer = await visitor.sign_in(tenant, email, password)
        assert answer.status_code == 303, answer.text
        return visitor

    async def operating(self) -> "Visitor":
        """Somebody who has given the suite's platform key."""
        visitor = self.visitor()
        answer = await visitor.send(
            "/operator/sign-in", "/operator/sign-in", {"/key": self.suite.platform.headers["X-Api-Key"]}
        )
        assert answer.status_code == 303, answer.text
        return visitor


class Visitor:
    """A person with a browser that runs no script: links, forms, one cookie jar."""

    def __init__(self, console: ConsoleStack, headers: Mapping[str, str]):
        self.console = console
        self.client = httpx.AsyncClient(
            base_url=console.url,
            trust_env=False,
            timeout=30,
            headers={"Sec-Fetch-Site": "same-origin", "Accept-Language": "en", **headers},
        )

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    async def send(self, page: str, action: str, fields: Mapping[str, Any], **options: Any) -> httpx.Response:
        """Send a form from a page, with the token that this page has."""
        token = TEXT_FIELD.search((await self.get(page)).text)
        sent = {**fields, **({"form_token": token[1]} if token else {})}
        return await self.client.post(action, data=sent, **options)

    async def sign_in(self, tenant: str, email: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        return await self.client.post(
            "/sign-in", data={"/tenant": tenant, "/email": email, "/password": password, **fields}
        )

    @property
    def cookie(self) -> str:
        return self.client.cookies["waybill_session"]


def text_of(answer: httpx.Response) -> str:
    """What a page says, without its markup."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


@dataclass
class Stock:
    """A company with one of everything: what samples of pages name."""

    tenant: Tenant
    ids: dict[str, str] = field(default_factory=dict)
    merchant_email: str = ""

    def fill(self, sample: str) -> str:
        """A sample with its ids."""
        return sample.format_map(self.ids)


async def stock_up(suite: Suite, url: str) -> Stock:
    """A company with a merchant, a job, an endpoint at this address and its deliveries, a member of staff, keys."""
    tenant = await suite.create_tenant()
    merchant = await tenant.create_merchant()
    await merchant.reveal()
    stock = Stock(tenant, {"merchant_id": merchant.id, "location_id": tenant.default_location})
    stock.merchant_email = str(merchant.document["login_email"])
    endpoint = await tenant.create_endpoint(url)
    job = await merchant.api.at("jobs").create("/v1/jobs", smallest_job())
    stock.ids |= {"endpoint_id": endpoint["id"], "job_id": job["id"], "tenant_id": tenant.id}

    async def delivered() -> dict[str, Any] | None:
        found = await tenant.owner.at("webhooks").read("/v1/deliveries")
        return found["data"][0] if found["data"] else None

    delivery = await eventually(delivered, what="a delivery is there")
    file = {"content": b'{"reference_id": "refused"}\n', "headers": {"Content-Type": "application/x-ndjson"}}
    sent = await merchant.api.at("jobs").request("POST", "/v1/job-imports", **file)
    stock.ids["import_id"] = sent.json()["id"]
    replay = {"endpoint_id": endpoint["id"], "kind": "filter", "since": delivery["created_at"], "dry_run": True}
    stock.ids["replay_id"] = (await tenant.owner.at("webhooks").create("/v1/replays", replay))["id"]
    staff = await tenant.owner.read("/v1/staff")
    former = await tenant.create_merchant()
    ended = await tenant.owner.delete(f"/v1/merchants/{former.id}/api-access")
    stock.ids["revocation_id"] = ended.headers["Revocation-Id"]
    stock.ids |= {"delivery_id": delivery["id"], "event_id": delivery["event_id"], "user_id": staff["data"][0]["id"]}
    return stock


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium. Raises `NoBrowser`: what needs one fails without it."""
    found = browsers.find()
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=str(found.program),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"],
            env={**os.environ, **found.environment},
        )
        yield running
        await running.close()


async def open_context(
    browser: Browser, console: ConsoleStack, visitor: Visitor | None = None, **options: Any
) -> BrowserContext:
    """A window of its own, signed in as a visitor is."""
    context = await browser.new_context(base_url=console.url, **options)
    await context.add_init_script(REPORTS)
    if visitor is not None:
        await context.add_cookies([{"name": "waybill_session", "value": visitor.cookie, "url": console.url}])
    return context


async def accessibility_faults(page: Page) -> list[str]:
    """What axe finds on the page as it is now. A script tag would be refused by the page's policy."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())
    found = await page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [f"{one['id']}: {node['html'][:160]} ({node['failureSummary']})" for one in found for node in one["nodes"]]
