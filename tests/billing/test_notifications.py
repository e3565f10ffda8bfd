"""Notifications of a payment provider: whoever has not signed them is refused, and what they tell of is only looked at sooner."""

import hashlib
import hmac
import json
import time

import pytest
from sqlalchemy import text

from billing import notifications
from billing.providers import NotificationRefused, Told
from billing.providers.fake import FakeProvider
from billing.providers.stripe import KEY, StripeProvider
from deploy.devstack.payments import sign
from tests.harness.billing import Billing
from tests.harness.client import refused
from tests.harness.people import Tenant, tenant_created
from tests.harness.waiting import eventually

PATH = "/v1/billing/providers/{}/notifications"
FORMER, PRESENT = "whsec_former", "whsec_present"
_DUE = text("SELECT due_at <= now() FROM tasks WHERE kind = 'checkout' AND key = :key")


def provider() -> StripeProvider:
    return StripeProvider("sk_test_1", url="http://127.0.0.1:1", webhook_secrets=(FORMER, PRESENT))


def told(**changed: object) -> bytes:
    return json.dumps({"id": "evt_1", "object": "event", "data": {"object": changed}}).encode()


def signed(body: bytes, secret: str = PRESENT, *, at: float | None = None) -> dict[str, str]:
    """The header with which Stripe sends this body."""
    seconds = int(at or time.time())
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={seconds},v1={digest}"}


@pytest.mark.parametrize("secret", [FORMER, PRESENT])
def test_either_secret_signs_while_one_replaces_the_other(secret: str) -> None:
    page = told(object="checkout.session", id="cs_1")
    payment = told(object="payment_intent", id="pi_1", metadata={KEY: "inv_1_1"})
    other = told(object="customer", id="cus_1")

    found = [provider().read_notification(body, signed(body, secret)) for body in (page, payment, other)]

    assert found == [Told(setup="cs_1"), Told(charge="inv_1_1"), Told()]


def test_what_the_provider_has_not_signed_lately_is_refused() -> None:
    body = told(object="checkout.session", id="cs_1")
    unreadable = b'{"data": {}}'

    for given, headers in (
        (body, {}),
        (body, {"stripe-signature": "t=1,v1="}),
        (body, signed(body, "whsec_other")),
        (body, signed(body, at=time.time() - 301)),
        (body + b" ", signed(body)),
        (unreadable, signed(unreadable)),
        (b"\xff", signed(b"\xff")),
    ):
        with pytest.raises(NotificationRefused):
            provider().read_notification(given, headers)


async def test_a_notification_has_the_page_looked_at_at_once(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    opened = await tenant.owner.create("/v1/billing/checkout-sessions")
    stripe = provider()
    # The page is one of the provider that this service has.
    stripe.name = "fake"
    body = told(object="checkout.session", id=opened["url"].rpartition("/")[2])

    async with billing.database.transaction() as session:
        for _ in range(2):
            await notifications.receive(session, stripe, "fake", body, signed(body))
        is_due = (await session.execute(_DUE, {"key": opened["id"]})).scalar_one()

    assert is_due
    assert (await tenant.owner.read(f"/v1/billing/checkout-sessions/{opened['id']}"))["status"] == "open"


async def test_strangers_can_tell_nothing(billing: Billing) -> None:
    body = {"id": "evt_1", "object": "event"}

    refused(await billing.nobody.post(PATH.format("fake"), body), 400, "notification_refused")
    refused(await billing.nobody.post(PATH.format("stripe"), body), 404, "payment_provider_not_found")


async def bought(billing: Billing) -> tuple[Tenant, dict[str, str]]:
    """A tenant that has bought with a card that it gave on the page; with the page and the charge that were told of."""
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    opened = await tenant.owner.create("/v1/billing/checkout-sessions")
    await billing.pages.fill_in(opened["url"], "pays")

    async def is_given() -> bool:
        found = await tenant.owner.read(f"/v1/billing/checkout-sessions/{opened['id']}")
        return bool(found["status"] == "completed")

    await eventually(is_given, what="the card is kept")
    await tenant.owner.create("/v1/billing/subscription", {"plan": "starter_monthly"})
    await billing.until(tenant, status="active", payment_pending=False)
    (invoice,) = await billing.invoices(tenant)
    return tenant, {"setup": opened["url"].rpartition("/")[2], "charge": f"{invoice['id']}_1"}


async def books(billing: Billing, tenant: Tenant) -> list[tuple[str, str, int]]:
    """What the ledger says, apart from the ids."""
    await billing.check_books(tenant)
    entries = (await tenant.owner.read("/v1/billing/ledger"))["data"]
    return sorted((entry["cause"], entry["account"], entry["amount"]) for entry in entries)


async def test_notifications_that_come_often_and_out_of_order_end_in_the_same_books(billing: Billing) -> None:
    in_order, _ = await bought(billing)
    await billing.pages.script(copies=3, gathered=2)
    try:
        disordered, told = await bought(billing)
    finally:
        await billing.pages.script()

    async def all_sent() -> list[tuple[str, int]] | None:
        taken = [(json.loads(body), status) for body, status in billing.pages.taken]
        sent = [(what, status) for body, status in taken for what, name in told.items() if body.get(what) == name]
        return sent if len(sent) == 6 else None

    assert await eventually(all_sent, what="all of them were sent") == [("charge", 204), ("setup", 204)] * 3
    assert await books(billing, disordered) == await books(billing, in_order)
    assert [invoice["status"] for invoice in await billing.invoices(disordered)] == ["paid"]
    assert len((await disordered.owner.read("/v1/billing/payment-methods"))["data"]) == 1


def test_the_fake_provider_signs_too() -> None:
    body = b'{"id": "evt_1", "setup": "page_1"}'
    fake, unset = FakeProvider("", PRESENT), FakeProvider("")
    signature = sign(body, PRESENT)
    late = {"fake-signature": signature.replace("t=", "t=1")}

    assert fake.read_notification(body, {"fake-signature": signature}) == Told(setup="page_1")
    for refusing, given, headers in (
        (fake, body, {}),
        (fake, body, late),
        (fake, body + b" ", {"fake-signature": signature}),
        (fake, body, {"fake-signature": sign(body, FORMER)}),
        (fake, b"[]", {"fake-signature": sign(b"[]", PRESENT)}),
        (unset, body, {"fake-signature": sign(body, "")}),
    ):
        with pytest.raises(NotificationRefused):
            refusing.read_notification(given, headers)
