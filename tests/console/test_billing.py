"""Billing as people use it without a script: the state in a sentence, a plan from its price to its end, invoices, the clock."""

import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import httpx
import pytest

from console.i18n import words_of
from console.pages.billing_words import LABELS, state_of
from tests.harness.bodies import email
from tests.harness.console import ConsoleStack, Visitor, text_of
from tests.harness.people import Tenant
from tests.harness.suite import Suite
from tests.harness.waiting import eventually

HOME, PLAN = "/billing", "/billing/plans/starter_monthly"
AT = "2026-12-03T19:02:00Z"
NOTHING: dict[str, Any] = {
    "trial_ends_at": None,
    "access_until": None,
    "current_period_end": None,
    "payment_due_at": None,
    "next_payment_attempt_at": None,
    "payment_pending": False,
    "cancel_at_period_end": False,
    "complimentary": False,
    "next_plan": None,
}
PENDING = {"payment_pending": True}


@pytest.mark.parametrize(
    ("status", "more", "sentence"),
    [
        ("trialing", {"trial_ends_at": AT}, "Your trial ends on {at}."),
        ("expired", {"trial_ends_at": AT}, "Your trial ended on {at}."),
        ("canceled", {"access_until": AT}, "Your subscription ended on {at}."),
        ("incomplete", {"payment_due_at": AT}, "is paid, by {at} at the latest."),
        ("unpaid", {"access_until": AT}, "Access ended on {at}"),
        ("past_due", {"access_until": AT}, "is being tried again now; access ends on {at}."),
        ("past_due", {"access_until": AT, "next_payment_attempt_at": AT}, "tried again on {at}; access ends on {at}."),
        ("active", {"current_period_end": AT}, "Starter renews on {at}."),
        ("active", {"current_period_end": AT, "cancel_at_period_end": True}, "Starter ends on {at}."),
        ("active", {"current_period_end": AT, "next_plan": "pro"}, "Starter runs until {at}; Pro follows."),
        ("active", {"current_period_end": AT, **PENDING}, "A payment is under way."),
        ("active", {"current_period_end": AT, "payment_due_at": AT, **PENDING}, "is to be paid by {at}."),
        (
            "active",
            {"access_until": AT, "complimentary": True, "cancel_at_period_end": True},
            "free of charge until {at}",
        ),
    ],
)
def test_a_subscription_stands_in_one_sentence_with_its_date(status: str, more: dict[str, Any], sentence: str) -> None:
    state = state_of({**NOTHING, "status": status, **more}, "Starter", "Pro", words_of("en", "America/Toronto"))

    assert sentence.format(at="3 Dec 2026, 14:02 EST") in state.sentence
    assert state.kind in {kind for _, kind in LABELS.values()}


def fields_of(page: httpx.Response, action: str) -> dict[str, str]:
    """What the form of a page sends where nothing is entered."""
    (form,) = re.findall(rf'<form method="post" action="{re.escape(action)}".*?</form>', page.text, re.DOTALL)[:1]
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in found}


async def sent(visitor: Visitor, page: str, action: str, **more: str) -> httpx.Response:
    """Send the form of a page as it is shown, and what was entered."""
    entered = {name if name == "if_match" else f"/{name}": value for name, value in more.items()}
    return await visitor.client.post(action, data=fields_of(await visitor.get(page), action) | entered)


async def test_a_plan_from_its_price_to_its_end(owner: Visitor, tenant: Tenant, suite: Suite) -> None:
    shown = text_of(await owner.get(HOME))
    assert "Your trial ends on" in shown
    assert "Due today CA$51.45" in shown

    assert (await sent(owner, HOME, "/billing/details", region="??")).status_code == 422
    assert (await sent(owner, HOME, "/billing/details", region="QC")).status_code == 303
    plan = await owner.get(PLAN)
    assert "QST 9.975%" in text_of(plan)
    asked = fields_of(plan, PLAN)
    dearer = await owner.client.post(PLAN, data={**asked, "/expected_amount_due": "1", "idempotency_key": "dearer"})
    assert dearer.status_code == 409
    assert (await owner.client.post(PLAN, data=asked)).status_code == 303

    bought = await owner.get(HOME)
    assert "as soon as its first invoice is paid" in text_of(bought)
    (number,) = set(re.findall(r"INV-\d+", text_of(bought)))
    (address,) = re.findall(r"/billing/invoices/inv_\w+\.pdf", bought.text)

    async def written() -> httpx.Response | None:
        found = await owner.get(address)
        return found if found.status_code == 200 else None

    document = await eventually(written, what="the invoice's document is written")
    assert (await owner.get(address.replace(".pdf", ".xml"))).text.startswith("<?xml")
    assert document.content.startswith(b"%PDF")
    assert number in document.headers["content-disposition"]
    assert number in text_of(await owner.get("/billing/invoices"))

    invoice = address.split("/")[-1].removesuffix(".pdf")
    paid = await suite.platform.at("billing").post(f"/v1/billing/tenants/{tenant.id}/invoices/{invoice}/mark-paid")
    assert paid.status_code == 200
    assert "Essentiel se renouvelle le" in text_of(await owner.get(HOME, headers={"Accept-Language": "fr"}))

    dearer_plan = "/billing/plans/pro_monthly"
    assert "Credit for the rest of Starter" in text_of(await owner.get(dearer_plan))
    cheaper = "/billing/plans/starter_yearly"
    assert (await sent(owner, cheaper, f"{cheaper}/change")).status_code == 303

    assert "Starter (yearly) follows" in text_of(await owner.get(HOME))

    assert (await sent(owner, "/billing/cancel", "/billing/cancel", at="period_end")).status_code == 303
    assert "Starter ends on" in text_of(await owner.get(HOME))
    assert (await sent(owner, HOME, "/billing/resume")).status_code == 303
    assert "Starter renews on" in text_of(await owner.get(HOME))


async def test_a_provider_that_opens_no_page_is_told_where_it_was_asked(
    owner: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.devstack.payments.KEPT_MAX", 0)

    refused = await sent(owner, HOME, "/billing/checkout")

    assert refused.status_code == 503
    assert "data-summary" in refused.text


async def test_a_test_company_moves_its_clock(console: ConsoleStack, suite: Suite) -> None:
    company = await suite.create_tenant()
    visitor = await console.signed_in(company.id, company.owner_email)
    assert (await sent(visitor, HOME, "/billing/test-clock")).status_code == 303
    over = datetime.fromisoformat((await company.owner.at("billing").read("/v1/billing/subscription"))["trial_ends_at"])
    behind = await sent(visitor, HOME, "/billing/test-clock/advance", to="2020-01-01T00:00")
    assert behind.status_code == 422
    later = (over + timedelta(days=1)).isoformat()
    assert (await sent(visitor, HOME, "/billing/test-clock/advance", to=later)).status_code == 303

    async def arrived() -> bool:
        return "hx-refresh" in (await visitor.get("/billing/test-clock")).headers

    await eventually(arrived, what="the clock has arrived")
    assert "Your trial ended on" in text_of(await visitor.get(HOME))
    refused = await visitor.get("/merchants")
    assert refused.status_code == 402
    assert 'class="btn" href="/billing"' in refused.text


async def test_who_may_only_look_has_no_buttons(console: ConsoleStack, tenant: Tenant) -> None:
    address = email("bookkeeper")
    await tenant.create_staff("billing.read", email=address)
    visitor = await console.signed_in(tenant.id, address)

    page = await visitor.get(HOME)

    assert page.status_code == 200
    assert 'action="/billing' not in page.text
    assert "/billing/plans/" not in page.text
    assert (await visitor.get("/billing/cancel")).status_code == 403
