"""The pictures of the README, of a company on a working day. `make screenshots` writes them; no other run collects this file."""

from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, ViewportSize

from tests.harness.bodies import PASSWORD, smallest_job
from tests.harness.console import ConsoleStack, open_context
from tests.harness.people import Tenant
from tests.harness.receiver import Receiver
from tests.harness.suite import Suite
from tests.harness.waiting import eventually

FOLDER = Path(__file__).parents[2] / "docs/pictures"
SIZE = ViewportSize(width=1280, height=800)
BYTES_MAX = 150_000
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
DISPATCHER = "lea@livraisons.example"
MERCHANTS = ("Boulangerie Saint-Henri", "Meubles Acme", "Pharmacie du Parc")
JOBS = (
    ("C-1001", "Ada", "Tremblay", "120 Rue Sherbrooke O, Montréal"),
    ("C-1002", "Louis", "Gagnon", "4500 Av. Papineau, Montréal"),
    ("C-1003", "Maya", "Roy", "88 Rue Wellington, Montréal"),
    ("C-1004", "Noah", "Bouchard", "12 Boul. Saint-Laurent, Montréal"),
    ("C-1005", "Inès", "Côté", "301 Rue Ontario E, Montréal"),
    ("C-1006", "Émile", "Fortin", "77 Rue Fleury, Montréal"),
)


async def working_day(suite: Suite, url: str) -> tuple[Tenant, dict[str, str]]:
    """A company with merchants, jobs in several states, and an endpoint that has got all of it."""
    tenant = await suite.create_tenant()
    await suite.platform.patch(f"/v1/tenants/{tenant.id}", {"name": "Livraisons Montréal"})
    permissions = ["home", "orders", "reports", "customers", "settings"]
    staff = {"email": DISPATCHER, "first_name": "Léa", "last_name": "Gagnon", "password": PASSWORD}
    await tenant.owner.create("/v1/staff", {**staff, "permissions": permissions})
    endpoint = await tenant.create_endpoint(url)
    merchants = [await tenant.create_merchant(business_name=name) for name in MERCHANTS]
    jobs = tenant.owner.at("jobs")
    made = []
    for number, (reference, first, last, address) in enumerate(JOBS):
        merchant = merchants[number % len(merchants)]
        contact = {"first_name": first, "last_name": last, "phone": "+15145550100"}
        body = smallest_job(contact=contact, address={"raw": address}, reference_id=reference, merchant_id=merchant.id)
        made.append(await jobs.create("/v1/jobs", body))
    for job in made[:4]:
        await jobs.post(f"/v1/jobs/{job['id']}/start")

    async def delivered() -> list[Any] | None:
        found = (await tenant.owner.at("webhooks").read("/v1/deliveries?status=delivered&limit=50"))["data"]
        return found if len(found) >= len(JOBS) + 4 else None

    await eventually(delivered, what="everything is delivered")
    return tenant, {"jobs": "/jobs", "job": f"/jobs/{made[0]['id']}", "endpoint": f"/webhooks/{endpoint['id']}"}


async def test_the_pictures_of_the_readme(
    browser: Browser, console: ConsoleStack, suite: Suite, hooks: Receiver
) -> None:
    tenant, shown = await working_day(suite, hooks.url("/hooks"))
    dispatcher = await console.signed_in(tenant.id, DISPATCHER)
    for scheme in SCHEMES:
        window = await open_context(
            browser, console, dispatcher, locale="en", color_scheme=scheme, reduced_motion="reduce", viewport=SIZE
        )
        tab = await window.new_page()
        for name, address in shown.items():
            answer = await tab.goto(address)
            assert answer is not None
            assert answer.status == 200
            picture = await tab.screenshot(path=FOLDER / f"{name}-{scheme}.png")
            assert len(picture) <= BYTES_MAX
        await window.close()
