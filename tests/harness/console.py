"""The console beside the whole suite, people who use it without a script, and a browser that runs everything."""

import asyncio
import json
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
from tests.harness.bodies import HOSTILE, PASSWORD, secret_32, smallest_job, staff_body
from tests.harness.people import Tenant
from tests.harness.stack import BackingStack, migrated
from tests.harness.suite import Process, Suite
from tests.harness.waiting import eventually

PRESS_TWICE = """() => {
  const faults = [];
  let sent = 0;
  addEventListener("submit", (event) => {
    if (!event.defaultPrevented) sent += 1;
    event.preventDefault();
  });
  for (const button of document.querySelectorAll("form[method=post] button[type=submit]")) {
    sent = 0;
    button.form.noValidate = true;
    button.click();
    button.click();
    if (sent > 1) faults.push(`two presses of ${button.outerHTML} are ${sent} requests`);
    dispatchEvent(new Event("pageshow"));
  }
  return faults;
}"""
"""Presses every button of the page twice, without sending anything."""
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
        port: int | None = None,
    ):
        port = port or free_ports(1)[0]
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
    """A company with one of everything: what samples of pages name. Its texts are as hostile as strangers may make them."""

    tenant: Tenant
    ids: dict[str, str] = field(default_factory=dict)
    merchant_email: str = ""
    secrets: list[str] = field(default_factory=list)
    """What no page shows before somebody asks for it."""

    def fill(self, sample: str) -> str:
        """A sample with its ids."""
        return sample.format_map(self.ids)


async def stock_up(suite: Suite, url: str) -> Stock:
    """A company with a merchant, a job, an endpoint at this address and its deliveries, a member of staff, keys."""
    tenant = await suite.create_tenant()
    await suite.platform.patch(f"/v1/tenants/{tenant.id}", {"name": HOSTILE})
    webhooks = tenant.owner.at("webhooks")
    location = await tenant.create_location(name=HOSTILE, address={"line1": HOSTILE, "city": HOSTILE})
    address = {"line1": HOSTILE, "line2": HOSTILE, "city": HOSTILE, "region": HOSTILE, "country": "CA"}
    merchant = await tenant.create_merchant(business_name=HOSTILE, reference_id=HOSTILE, address=address)
    await merchant.reveal()
    stock = Stock(tenant, {"merchant_id": merchant.id, "location_id": location})
    stock.merchant_email = str(merchant.document["login_email"])
    endpoint = await tenant.create_endpoint(url, description=HOSTILE, headers={"X-Hostile": HOSTILE})
    job = await merchant.api.at("jobs").create("/v1/jobs", hostile_job())
    stock.ids |= {"endpoint_id": endpoint["id"], "job_id": job["id"], "tenant_id": tenant.id}

    async def delivered() -> dict[str, Any] | None:
        found = await webhooks.read("/v1/deliveries")
        return found["data"][0] if found["data"] else None

    delivery = await eventually(delivered, what="a delivery is there")
    row = json.dumps({"reference_id": HOSTILE}).encode()
    file = {"content": row + b"\n", "headers": {"Content-Type": "application/x-ndjson"}}
    sent = await merchant.api.at("jobs").request("POST", "/v1/job-imports", **file)
    stock.ids["import_id"] = sent.json()["id"]
    replay = {"endpoint_id": endpoint["id"], "kind": "filter", "since": delivery["created_at"], "dry_run": True}
    stock.ids["replay_id"] = (await webhooks.create("/v1/replays", replay))["id"]
    wanted = {"command": "cancel", "filters": {"q": "nothing"}, "dry_run": True}
    stock.ids["job_command_id"] = (await tenant.owner.at("jobs").post("/v1/job-commands", wanted)).json()["id"]
    wanted = {"command": "grant_api_access", "filters": {}, "dry_run": True}
    stock.ids["merchant_command_id"] = (await tenant.owner.post("/v1/merchant-commands", wanted)).json()["id"]
    names = {"first_name": HOSTILE, "last_name": HOSTILE}
    person = await tenant.owner.create("/v1/staff", {**staff_body("orders"), **names})
    former = await tenant.create_merchant()
    ended = await tenant.owner.delete(f"/v1/merchants/{former.id}/api-access")
    stock.ids["revocation_id"] = ended.headers["Revocation-Id"]
    stock.ids |= {"delivery_id": delivery["id"], "event_id": delivery["event_id"], "user_id": person["id"]}
    key = await tenant.owner.create("/v1/api-keys", {"name": HOSTILE, "scopes": ["reports"]})
    await merchant.api.at("jobs").get(f"/v1/jobs/{HOSTILE}")
    platform_key = suite.platform.headers["X-Api-Key"]
    stock.secrets = [merchant.key, endpoint["secret"], key["api_key"], platform_key, PASSWORD]
    return stock


def hostile_job() -> dict[str, Any]:
    """A job whose every text is hostile."""
    return smallest_job(
        contact={"first_name": HOSTILE, "last_name": HOSTILE, "company": HOSTILE, "phone": "+15145550100"},
        address={"raw": HOSTILE, "line1": HOSTILE, "city": HOSTILE},
        reference_id=HOSTILE,
        short_description=HOSTILE,
        instructions=HOSTILE,
        tags=[HOSTILE],
        metadata={"hostile": HOSTILE},
        invoices=[HOSTILE],
        barcodes=[HOSTILE],
        actions=[{"type": "delivery", "description": HOSTILE, "quantity": 1, "unit": HOSTILE[:20], "sku": HOSTILE}],
    )


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
    """What axe finds on the page as it is now. Its window has `AXE` as an init script, which the policy of pages does not refuse."""
    # Without a copy of all style sheets, which one rule about the turning of telephones alone reads.
    options = "{resultTypes: ['violations'], preload: false, elementRef: false}"
    found = await page.evaluate(f"async () => (await axe.run(document, {options})).violations")
    return [f"{one['id']}: {node['html'][:160]} ({node['failureSummary']})" for one in found for node in one["nodes"]]
