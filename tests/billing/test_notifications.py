"""Notifications of a payment provider: whoever has not signed them is refused, and what they tell of is only looked at sooner."""

import hashlib
import hmac
import json
import time

import pytest
from sqlalchemy import text

from billing import notifications
from billing.providers import NotificationRefused, Told
from billing.providers.stripe import KEY, StripeProvider
from tests.harness.billing import Billing
from tests.harness.client import refused

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
