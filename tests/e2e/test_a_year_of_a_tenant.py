"""A year of a delivery company with Waybill, on its test clock: from the trial to the last invoice, and every cent in the books."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.harness.client import Api, document
from tests.harness.payments import FakeServer
from tests.harness.people import Tenant
from tests.harness.suite import Suite
from tests.harness.waiting import eventually

DOORS = {"jobs": "/v1/jobs", "webhooks": "/v1/webhook-endpoints", "identity": "/v1/merchants"}
"""A route of each service that has to be paid for."""
SUBSCRIPTION = "/v1/billing/subscription"
CLOCK = "/v1/billing/test-clock"
DAY = timedelta(days=1)
GST = 20
"""One part in twenty: 5 %."""


@dataclass
class Year:
    """The company's owner at billing, an operator who sees its transfers arrive, and its doors."""

    owner: Api
    operator: Api
    tenant: Tenant
    payments: FakeServer
    card: str = ""
    """The payment provider's own id of the company's card."""

    async def subscription(self) -> dict[str, Any]:
        return await self.owner.read(SUBSCRIPTION)

    async def until(self, instant: str | datetime, *, and_then: timedelta = timedelta()) -> dict[str, Any]:
        """Let time pass; returns the subscription when every service goes by the new time."""
        to = (datetime.fromisoformat(instant) if isinstance(instant, str) else instant) + and_then
        await self.owner.create(f"{CLOCK}/advance", {"to": to.isoformat()})

        async def ready() -> bool:
            return bool((await self.owner.read(CLOCK))["status"] == "ready")

        await eventually(ready, what=f"it is {to}")
        return await self.subscription()

    async def doors(self) -> dict[str, int]:
        """What each service answers now."""
        return {name: (await self.tenant.owner.at(name).get(path)).status_code for name, path in DOORS.items()}

    async def doors_become(self, status: int) -> None:
        async def so() -> bool:
            return set((await self.doors()).values()) == {status}

        await eventually(so, what=f"every service answers {status}")

    async def pay(self) -> dict[str, Any]:
        """The transfer arrives: the operator says so."""
        (invoice,) = [one for one in await self.invoices() if one["status"] == "open"]
        path = f"/v1/billing/tenants/{self.tenant.id}/invoices/{invoice['id']}/mark-paid"
        return document(await self.operator.post(path))

    async def invoices(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.owner.read("/v1/billing/invoices"))["data"]
        return found


async def test_a_year_of_a_tenant(suite: Suite, payments: FakeServer) -> None:
    # A company tries Waybill for two weeks.
    tenant = await suite.create_tenant()
    year = Year(tenant.owner.at("billing"), suite.platform.at("billing"), tenant, payments)
    await year.owner.create(CLOCK)

    await the_trial_ends(year)
    await they_buy_and_pay(year)
    await they_grow(year)
    await they_give_a_card(year)
    await a_card_is_declined_and_tried_again(year)
    await a_card_is_declined_for_good(year)
    await a_year_is_cheaper(year)
    await they_leave(year)
    await the_books_add_up(year)


async def the_trial_ends(year: Year) -> None:
    # On the last day everything still works. A second later nothing does, in any service, and billing says why.
    trial_ends_at = (await year.subscription())["trial_ends_at"]
    await year.until(trial_ends_at, and_then=-DAY / 2)
    assert await year.doors() == dict.fromkeys(DOORS, 200)

    expired = await year.until(trial_ends_at)
    assert await year.doors() == dict.fromkeys(DOORS, 402)
    assert (expired["status"], expired["allowed_transitions"]) == ("expired", ["subscribe"])


async def they_buy_and_pay(year: Year) -> None:
    # The owner sees what a month costs, buys exactly that, and gets an invoice. Nothing opens before it is paid.
    preview = await year.owner.create(f"{SUBSCRIPTION}/preview", {"plan": "starter_monthly"})
    assert preview["amount_due"] == 4900 + 4900 // GST
    wanted = {"plan": "starter_monthly", "expected_amount_due": preview["amount_due"]}
    bought = await year.owner.create(SUBSCRIPTION, wanted)
    assert bought["status"] == "incomplete"
    assert await year.doors() == dict.fromkeys(DOORS, 402)

    paid = await year.pay()
    assert (paid["number"], paid["total"]) == ("INV-0001", preview["amount_due"])
    await year.doors_become(200)


async def they_grow(year: Year) -> None:
    # Ten days later they need more, at once; what is left of the small plan is taken off.
    before = await year.subscription()
    await year.until(before["current_period_start"], and_then=10 * DAY)
    preview = await year.owner.create(f"{SUBSCRIPTION}/preview", {"plan": "pro_monthly"})
    assert 0 < preview["credit"] < 4900
    assert 0 < preview["amount_due"] < 14900

    wanted = {"plan": "pro_monthly", "expected_amount_due": preview["amount_due"]}
    grown = await year.owner.create(f"{SUBSCRIPTION}/change", wanted)
    assert grown["features"]["webhook_endpoints"] == 50
    assert grown["current_period_end"] == before["current_period_end"]
    assert (await year.pay())["total"] == preview["amount_due"]


async def they_give_a_card(year: Year) -> None:
    # Transfers are a nuisance: they give a card, on the page of the payment provider.
    page = await year.owner.create("/v1/billing/checkout-sessions")
    await year.payments.fill_in(page["url"], "pays")

    async def given() -> bool:
        session = await year.owner.read(f"/v1/billing/checkout-sessions/{page['id']}")
        return bool(session["status"] == "completed")

    await eventually(given, what="the card is known")
    year.card = await year.payments.card_of(page["url"])


async def a_card_is_declined_and_tried_again(year: Year) -> None:
    # At the end of the month the card is empty. They are told, and keep working.
    await year.payments.change_card(year.card, "declines")
    period_ends_at = (await year.subscription())["current_period_end"]
    late = await year.until(period_ends_at, and_then=DAY)
    assert late["status"] == "past_due"
    assert await year.doors() == dict.fromkeys(DOORS, 200)

    # Two days after the first attempt it is tried again, and there is money.
    await year.payments.change_card(year.card, "pays")
    recovered = await year.until(late["next_payment_attempt_at"], and_then=DAY)
    assert (recovered["status"], recovered["payment_pending"]) == ("active", False)
    assert await year.doors() == dict.fromkeys(DOORS, 200)
    assert (await year.invoices())[0]["status"] == "paid"


async def a_card_is_declined_for_good(year: Year) -> None:
    # The next month it is empty again, and stays so through every attempt. After three weeks it is over, in every service.
    await year.payments.change_card(year.card, "declines")
    period_ends_at = (await year.subscription())["current_period_end"]
    late = await year.until(period_ends_at, and_then=DAY)
    assert await year.doors() == dict.fromkeys(DOORS, 200)
    unpaid = await year.until(late["access_until"])
    assert unpaid["status"] == "unpaid"
    assert await year.doors() == dict.fromkeys(DOORS, 402)

    # They see to it, and have the invoice charged: every door opens.
    await year.payments.change_card(year.card, "pays")
    owed = (await year.invoices())[0]
    await year.owner.create(f"/v1/billing/invoices/{owed['id']}/pay")
    await year.doors_become(200)
    recovered = await year.subscription()
    assert (recovered["status"], recovered["plan"]) == ("active", "pro_monthly")


async def a_year_is_cheaper(year: Year) -> None:
    # The season is over: from the next period on they take the small plan, for a whole year.
    planned = await year.owner.create(f"{SUBSCRIPTION}/change", {"plan": "starter_yearly"})
    assert (planned["plan"], planned["next_plan"]) == ("pro_monthly", "starter_yearly")
    period_ends_at = planned["current_period_end"]

    changed = await year.until(period_ends_at, and_then=DAY)
    assert (changed["plan"], changed["features"]["webhook_endpoints"]) == ("starter_yearly", 5)
    begins, ends = (datetime.fromisoformat(changed[f"current_period_{name}"]) for name in ("start", "end"))
    assert (begins.month, begins.day) == (ends.month, ends.day)
    invoice = (await year.invoices())[0]
    assert (invoice["status"], invoice["subtotal"]) == ("paid", 49000)


async def they_leave(year: Year) -> None:
    # In good time they cancel. What they have paid for stays theirs to the last second.
    leaving = await year.owner.create(f"{SUBSCRIPTION}/cancel", {})
    assert leaving["access_until"] == leaving["current_period_end"]
    await year.until(leaving["access_until"], and_then=-DAY / 2)
    assert await year.doors() == dict.fromkeys(DOORS, 200)

    left = await year.until(leaving["access_until"])
    assert left["status"] == "canceled"
    assert await year.doors() == dict.fromkeys(DOORS, 402)


async def the_books_add_up(year: Year) -> None:
    # Five invoices, one after the other, all paid; and every posting has two sides.
    invoices = await year.invoices()
    assert [invoice["number"] for invoice in reversed(invoices)] == [f"INV-{number:04d}" for number in range(1, 6)]
    assert {invoice["status"] for invoice in invoices} == {"paid"}

    entries = (await year.owner.read("/v1/billing/ledger", params={"limit": 200}))["data"]
    postings, accounts = Counter[str](), Counter[str]()
    for entry in entries:
        postings[entry["posting_id"]] += entry["amount"]
        accounts[entry["account"]] += entry["amount"]
    total = sum(invoice["total"] for invoice in invoices)
    assert set(postings.values()) == {0}
    assert accounts["cash"] == total
    by_card = sum(invoice["total"] for invoice in invoices[:3])
    assert await year.payments.taken_from(year.card) == by_card
    assert accounts["receivable"] == 0
    assert accounts["revenue"] + accounts["tax"] == -total
    assert accounts["tax"] == -sum(round(invoice["subtotal"] / GST) for invoice in invoices)
