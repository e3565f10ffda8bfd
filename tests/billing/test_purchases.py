"""Buying a plan and paying for it, through the API: invoices, charges, changes, and books that add up."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from billing import ledger, reconciliation
from billing.providers import Declined, Unknown
from shared.events.identity import TenantClosed
from shared.ids import to_uuid
from tests.harness.billing import Billing, Hangs, TimedOutAfterwards
from tests.harness.client import document, refused
from tests.harness.people import Tenant, tenant_created
from tests.harness.waiting import eventually

SUBSCRIPTION = "/v1/billing/subscription"
STARTER = 4900 + 245
"""With 5 % GST."""
PRO = 14900 + 745


async def open_invoice(tenant: Tenant) -> dict[str, Any]:
    (invoice,) = [one for one in (await tenant.owner.read("/v1/billing/invoices"))["data"] if one["status"] == "open"]
    return dict(invoice)


async def buy(billing: Billing, plan: str = "starter_monthly", *, trial_days: int = 0) -> tuple[Tenant, str]:
    """A tenant that has bought a plan with a payment method."""
    tenant = await billing.create_tenant(tenant_created(trial_days=trial_days))
    card = await billing.add_payment_method(tenant)
    await tenant.owner.create(SUBSCRIPTION, {"plan": plan})
    await billing.until(tenant, status="active", payment_pending=False)
    return tenant, card


async def test_plans_are_listed_for_everybody_by_price(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    dispatcher = await tenant.create_staff("orders")

    plans = (await dispatcher.read("/v1/billing/plans"))["data"]

    assert [plan["plan"] for plan in plans] == ["starter_monthly", "pro_monthly", "starter_yearly", "pro_yearly"]
    assert plans[0]["features"] == {"webhook_endpoints": 5, "requests_per_second": 50}


async def test_an_expired_tenant_buys_by_invoice_and_has_access_when_it_is_marked_paid(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    await billing.until(tenant, status="expired", entitled=False)

    bought = await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly", "expected_amount_due": STARTER})
    invoice = await open_invoice(tenant)
    path = f"/v1/billing/tenants/{tenant.id}/invoices/{invoice['id']}/mark-paid"
    paid = document(await billing.platform().post(path, headers={"If-Match": '"1"'}))
    again = await billing.platform().post(path)

    assert (bought["status"], bought["entitled"], bought["payment_pending"]) == ("incomplete", False, True)
    assert (invoice["number"], invoice["total"], invoice["amount_due"]) == ("INV-0001", STARTER, STARTER)
    assert invoice["customer"]["country"] == "CA"
    assert [(line["plan"], line["amount"]) for line in invoice["lines"]] == [("starter_monthly", 4900)]
    assert invoice["taxes"] == [{"name": "GST", "rate_ppm": 50000, "amount": 245}]
    assert datetime.fromisoformat(invoice["due_at"]) - datetime.fromisoformat(invoice["finalized_at"]) == timedelta(14)
    assert (paid["status"], paid["amount_due"]) == ("paid", 0)
    assert refused(again, 409, "invoice_not_open")["current_status"] == "paid"
    active = await billing.subscription(tenant)
    assert (active["status"], active["entitled"], active["access_until"]) == ("active", True, None)
    *_, activated, paid_event = await billing.events(
        tenant.id,
        "trial.started",
        "trial.expired",
        "invoice.finalized",
        "subscription.updated",
        "subscription.activated",
        "invoice.paid",
    )
    assert activated.data.features == {"webhook_endpoints": 5, "requests_per_second": 50}
    assert paid_event.data.invoice_id == invoice["id"]
    await billing.audited(invoice["id"], "invoice.marked_paid")
    await billing.check_books(tenant)


async def test_a_payment_method_is_charged_and_what_is_left_of_the_trial_is_kept(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=10))
    await billing.add_payment_method(tenant)
    trial = await billing.subscription(tenant)

    bought = await tenant.owner.create(SUBSCRIPTION, {"plan": "pro_monthly"})
    active = await billing.until(tenant, status="active")

    assert (bought["status"], bought["entitled"]) == ("incomplete", True)
    begins, ends = datetime.fromisoformat(trial["trial_ends_at"]), datetime.fromisoformat(active["current_period_end"])
    assert timedelta(days=28) <= ends - begins <= timedelta(days=31, hours=1)
    assert billing.provider.taken_of(tenant) == PRO
    events = ["trial.started", "invoice.finalized", "subscription.updated", "subscription.activated", "trial.converted"]
    await billing.events(tenant.id, *events, "invoice.paid")
    await billing.check_books(tenant)


async def test_what_was_previewed_is_charged_or_nothing_at_all(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))

    preview = await tenant.owner.create(f"{SUBSCRIPTION}/preview", {"plan": "pro_monthly"})
    other = await tenant.owner.post(SUBSCRIPTION, {"plan": "pro_monthly", "expected_amount_due": PRO - 1})

    assert (preview["amount_due"], preview["tax"], preview["credit"]) == (PRO, 745, 0)
    problem = refused(other, 409, "amount_changed")
    assert (problem["expected"], problem["amount_due"]) == (PRO - 1, PRO)
    assert (await tenant.owner.read("/v1/billing/invoices"))["data"] == []


async def test_an_upgrade_is_paid_by_days_and_a_downgrade_waits_for_the_period(billing: Billing) -> None:
    tenant, _ = await buy(billing)

    preview = await tenant.owner.create(f"{SUBSCRIPTION}/preview", {"plan": "pro_monthly"})
    expected = {"plan": "pro_monthly", "expected_amount_due": preview["amount_due"]}
    upgraded = await tenant.owner.create(f"{SUBSCRIPTION}/change", expected)
    await billing.until(tenant, plan="pro_monthly", payment_pending=False)
    downgraded = await tenant.owner.create(f"{SUBSCRIPTION}/change", {"plan": "starter_monthly"})
    withdrawn = await tenant.owner.create(f"{SUBSCRIPTION}/change", {"plan": "pro_monthly"})
    same = await tenant.owner.post(f"{SUBSCRIPTION}/change", {"plan": "pro_monthly"})

    # Bought this very day: the whole of the former plan is credited.
    assert (preview["credit"], preview["amount_due"]) == (4900, PRO - STARTER)
    assert upgraded["features"]["webhook_endpoints"] == 50
    assert (downgraded["plan"], downgraded["next_plan"]) == ("pro_monthly", "starter_monthly")
    assert withdrawn["next_plan"] is None
    refused(same, 409, "plan_unchanged")
    assert billing.provider.taken_of(tenant) == PRO
    await billing.check_books(tenant)


async def test_a_cancellation_ends_access_with_the_period_and_can_be_withdrawn(billing: Billing) -> None:
    tenant, _ = await buy(billing)

    ending = await tenant.owner.create(f"{SUBSCRIPTION}/cancel", {})
    resumed = await tenant.owner.create(f"{SUBSCRIPTION}/resume")
    again = await tenant.owner.post(f"{SUBSCRIPTION}/resume")
    at_once = await tenant.owner.create(f"{SUBSCRIPTION}/cancel", {"at": "now"})

    assert (ending["status"], ending["access_until"]) == ("active", ending["current_period_end"])
    assert (resumed["cancel_at_period_end"], resumed["access_until"]) == (False, None)
    assert refused(again, 409, "subscription_transition_refused")["allowed_transitions"] == ["change", "cancel"]
    assert (at_once["status"], at_once["entitled"]) == ("canceled", False)
    assert at_once["allowed_transitions"] == ["subscribe"]
    await billing.check_books(tenant)


async def test_a_first_charge_that_is_declined_can_be_paid_again_or_given_up(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    card = await billing.add_payment_method(tenant)
    billing.provider.answer(card, Declined("insufficient_funds"), Declined("lost_card", is_final=True))

    await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly"})
    invoice = await open_invoice(tenant)
    pay = f"/v1/billing/invoices/{invoice['id']}/pay"
    await eventually(lambda: len(_keys_of(billing, invoice["id"])) == 1, what="it was charged")

    async def accepted() -> bool:
        return (await tenant.owner.post(pay)).status_code == 200

    await eventually(accepted, what="it can be paid again")
    await eventually(lambda: len(_keys_of(billing, invoice["id"])) == 2, what="it was charged again")
    await eventually(accepted, what="it can be paid once more")
    await billing.until(tenant, status="active")

    assert _keys_of(billing, invoice["id"]) == [f"{invoice['id']}_{n}" for n in (1, 2, 3)]
    assert billing.provider.taken_of(tenant) == STARTER
    await billing.check_books(tenant)


@pytest.mark.parametrize("outage", [TimeoutError(), TimedOutAfterwards(), Hangs(), Unknown("processing")], ids=repr)
async def test_a_charge_without_an_answer_is_never_made_twice(
    billing: Billing, outage: Exception | Unknown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.subscriptions.worker.LOOK_UP_AGAIN", timedelta(seconds=0.2))
    monkeypatch.setattr("billing.subscriptions.worker.CHARGE_SECONDS", 0.5)
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    card = await billing.add_payment_method(tenant)
    billing.provider.answer(card, outage)

    await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly"})
    await billing.until(tenant, status="active")

    (invoice,) = (await tenant.owner.read("/v1/billing/invoices"))["data"]
    assert set(_keys_of(billing, invoice["id"])) == {f"{invoice['id']}_1"}
    assert billing.provider.taken_of(tenant) == STARTER
    await billing.check_books(tenant)


async def test_a_cancellation_waits_for_no_provider_and_what_was_taken_is_a_credit(
    billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.subscriptions.worker.LOOK_UP_AGAIN", timedelta(seconds=0.5))
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    card = await billing.add_payment_method(tenant)
    billing.provider.answer(card, TimedOutAfterwards())

    await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly"})
    invoice = await open_invoice(tenant)
    await eventually(lambda: billing.provider.taken_of(tenant) == STARTER, what="it was taken")
    paid = await billing.platform().post(f"/v1/billing/tenants/{tenant.id}/invoices/{invoice['id']}/mark-paid")
    canceled = await tenant.owner.create(f"{SUBSCRIPTION}/cancel", {"at": "now"})

    async def credited() -> bool:
        entries = (await tenant.owner.read("/v1/billing/ledger"))["data"]
        return ("overpaid", "customer_credit", -STARTER) in [
            (entry["cause"], entry["account"], entry["amount"]) for entry in entries
        ]

    refused(paid, 409, "charge_under_way")
    assert canceled["status"] == "expired"
    await eventually(credited, what="what was taken is a credit")
    assert (await billing.subscription(tenant))["status"] == "expired"
    (void,) = await billing.invoices(tenant)
    assert (void["status"], void["credit_note"]["amount"]) == ("void", STARTER)
    await billing.check_books(tenant)

    # The next purchase uses the credit, and nobody is asked for it.
    preview = await tenant.owner.create(f"{SUBSCRIPTION}/preview", {"plan": "starter_monthly"})
    assert (preview["credit_applied"], preview["amount_due"]) == (STARTER, 0)
    again = await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly", "expected_amount_due": 0})
    assert (again["status"], again["payment_pending"]) == ("active", False)
    paid_by_credit = (await billing.invoices(tenant))[0]
    assert (paid_by_credit["status"], paid_by_credit["credit_applied"]) == ("paid", STARTER)
    assert billing.provider.taken_of(tenant) == STARTER
    await billing.check_books(tenant)


async def test_a_credit_comes_back_with_what_it_has_paid_of_a_void_invoice(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    await billing.until(tenant, status="expired")
    async with billing.database.transaction() as session:
        amounts: dict[ledger.Account, int] = {"cash": 1000, "customer_credit": -1000}
        posting = ledger.Posting(tenant.id, "CAD", "overpaid", amounts, "cha_paid_twice", datetime.now(UTC))
        await ledger.post(session, posting)

    await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly", "expected_amount_due": STARTER - 1000})
    owed = (await open_invoice(tenant))["amount_due"]
    await tenant.owner.create(f"{SUBSCRIPTION}/cancel", {})
    again = await tenant.owner.create(f"{SUBSCRIPTION}/preview", {"plan": "starter_monthly"})
    async with billing.database.reading() as session:
        differences = await reconciliation.differences_within(session)

    assert owed == STARTER - 1000
    assert again["credit_applied"] == 1000
    assert [one.kind for one in differences if one.tenant_id == tenant.id] == ["credit_owed"]


async def test_who_says_a_region_is_taxed_as_there(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    details = "/v1/billing/details"
    before = await tenant.owner.read(details)

    unknown = await tenant.owner.patch(details, {"region": "QB"})
    changed = document(await tenant.owner.patch(details, {"region": "QC"}, headers={"If-Match": '"1"'}))
    await tenant.owner.create(SUBSCRIPTION, {"plan": "starter_monthly"})
    invoice = await open_invoice(tenant)

    assert (before["country"], before["region"]) == ("CA", None)
    assert refused(unknown, 422, "region_unknown")["errors"][0]["pointer"] == "/region"
    assert (changed["region"], changed["version"]) == ("QC", 2)
    # 9.975 % of 49.00 are 4.88775.
    assert [(tax["name"], tax["rate_ppm"], tax["amount"]) for tax in invoice["taxes"]] == [
        ("GST", 50000, 245),
        ("QST", 99750, 489),
    ]
    assert (invoice["total"], invoice["customer"]["region"]) == (4900 + 245 + 489, "QC")
    await billing.audited(tenant.id, "billing_details.updated")


async def test_a_tenant_that_is_closed_pays_nothing_more(billing: Billing) -> None:
    (bought, card), on_trial = await buy(billing), await billing.create_tenant()
    billing.provider.answer(card, Declined("insufficient_funds"))

    for tenant in (bought, on_trial):
        state = tenant_created(tenant_id=tenant.id, status="closed").data
        closed = TenantClosed(tenant_id=tenant.id, subject=tenant.id, sequence=9, data=state)
        # Kafka may bring it twice.
        await billing.publish(closed, closed)
        await eventually(partial(_has_ended, billing, tenant), what="the subscription has ended")

    assert billing.provider.taken_of(bought) == STARTER
    await billing.check_books(bought)


async def test_of_many_who_buy_at_once_one_buys(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    await billing.add_payment_method(tenant)
    await billing.until(tenant, status="expired")
    wanted = {"plan": "starter_monthly"}

    answers = await asyncio.gather(*(tenant.owner.post(SUBSCRIPTION, wanted) for _ in range(6)))
    repeated = [
        await tenant.owner.post(f"{SUBSCRIPTION}/cancel", {"at": "now"}, headers={"Idempotency-Key": "once"})
        for _ in range(2)
    ]

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]
    assert [answer.json()["version"] for answer in repeated] == [repeated[0].json()["version"]] * 2
    assert len(await billing.invoices(tenant)) == 1
    assert billing.provider.taken_of(tenant) in (0, STARTER)
    await billing.check_books(tenant)


async def test_a_plan_can_be_granted_until_an_instant(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    await billing.until(tenant, status="expired")
    path = f"/v1/billing/tenants/{tenant.id}/grant"

    passed = await billing.platform().post(path, {"plan": "pro_monthly", "until": "2020-01-01T00:00:00Z"})
    unknown = await billing.platform().post(path, {"plan": "gold", "until": "2090-01-01T00:00:00Z"})
    granted = await billing.platform().create(path, {"plan": "pro_monthly", "until": "2090-01-01T00:00:00Z"})

    refused(passed, 422, "grant_end_refused")
    refused(unknown, 404, "plan_not_found")
    assert (granted["status"], granted["complimentary"], granted["entitled"]) == ("active", True, True)
    assert granted["access_until"] == "2090-01-01T00:00:00Z"
    assert granted["allowed_transitions"] == ["cancel"]
    assert (await tenant.owner.read("/v1/billing/invoices"))["data"] == []
    await billing.audited(granted["id"], "trial.expired", "subscription.granted")


async def test_another_tenants_invoice_is_not_found(billing: Billing) -> None:
    tenant, _ = await buy(billing)
    other = await billing.create_tenant()
    (invoice,) = (await tenant.owner.read("/v1/billing/invoices"))["data"]

    read = await other.owner.get(f"/v1/billing/invoices/{invoice['id']}")
    paid = await other.owner.post(f"/v1/billing/invoices/{invoice['id']}/pay")
    marked = await billing.platform().post(f"/v1/billing/tenants/{other.id}/invoices/{invoice['id']}/mark-paid")

    for answer in (read, paid, marked):
        refused(answer, 404, "invoice_not_found")
    assert (await tenant.owner.read(f"/v1/billing/invoices/{invoice['id']}"))["status"] == "paid"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"plan": "gold_monthly"}, 404, "plan_not_found"),
        ({"plan": "starter_monthly", "expected_amount_due": -1}, 422, "invalid"),
        ({"plan": "starter_monthly", "expected_amount_due": 10**30}, 422, "invalid"),
        ({"plan": "starter_monthly", "currency": "XXX"}, 422, "invalid"),
        (
            {"plan": "starter_monthly", "payment_method": "pm_01h455vb4pex5vsknk084sn02q"},
            404,
            "payment_method_not_found",
        ),
        ({}, 422, "invalid"),
    ],
)
async def test_a_purchase_that_cannot_be_changes_nothing(
    billing: Billing, body: dict[str, Any], status: int, code: str
) -> None:
    tenant = await billing.create_tenant()
    before = await billing.subscription(tenant)

    refused(await tenant.owner.post(SUBSCRIPTION, body), status, code)

    assert await billing.subscription(tenant) == before


async def test_the_ledger_shows_every_movement_in_double_entry(billing: Billing) -> None:
    tenant, _ = await buy(billing)

    entries = (await tenant.owner.read("/v1/billing/ledger"))["data"]

    assert [(entry["cause"], entry["account"], entry["amount"]) for entry in entries] == [
        ("invoice_finalized", "receivable", STARTER),
        ("invoice_finalized", "revenue", -4900),
        ("invoice_finalized", "tax", -245),
        ("invoice_paid", "cash", STARTER),
        ("invoice_paid", "receivable", -STARTER),
    ]


def _keys_of(billing: Billing, invoice_id: str) -> list[str]:
    return [key for key in billing.provider.keys if key.startswith(invoice_id)]


_ENDED = text(
    """
    SELECT status = 'canceled' AND access_until <= now() AND NOT EXISTS (SELECT FROM tasks WHERE key = :tenant)
    FROM subscriptions WHERE tenant_id = :uuid
    """
)


async def _has_ended(billing: Billing, tenant: Tenant) -> bool:
    """Whether the subscription is canceled, and nothing is to come of it."""
    async with billing.database.reading() as session:
        found = await session.execute(_ENDED, {"tenant": tenant.id, "uuid": to_uuid(tenant.id)})
        return bool(found.scalar_one())
