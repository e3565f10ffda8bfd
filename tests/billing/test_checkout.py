"""A person gives a payment method on the provider's page, and buys with it."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from billing import checkout
from billing.app import create_app
from billing.checkout.rules import LATER, SOON, PaymentsByHand, look_again
from billing.config import Settings
from billing.providers.fake import FakeProvider
from tests.harness.billing import Billing
from tests.harness.client import refused
from tests.harness.people import Tenant, tenant_created
from tests.harness.services import serve, settings_of
from tests.harness.stack import BackingStack
from tests.harness.waiting import eventually

PATH = "/v1/billing/checkout-sessions"
PLAN = {"plan": "starter_monthly"}


async def given(billing: Billing, tenant: Tenant, card: str) -> dict[str, Any]:
    """A checkout session on whose page this card was given (none: empty), once billing knows."""
    opened = await tenant.owner.create(PATH)
    await billing.pages.fill_in(opened["url"], card)

    async def ended() -> dict[str, Any] | None:
        found = await tenant.owner.read(f"{PATH}/{opened['id']}")
        return None if found["status"] == "open" else found

    return await eventually(ended, what="billing has seen what became of the page")


async def test_a_card_that_was_given_on_the_page_pays_the_purchase(billing: Billing) -> None:
    tenant = await billing.create_tenant()

    session = await given(billing, tenant, "pays")
    bought = await tenant.owner.create("/v1/billing/subscription", PLAN)

    assert (session["status"], session["url"]) == ("completed", None)
    assert session["payment_method_id"].startswith("pm_")
    assert bought["plan"] == "starter_monthly"
    await billing.until(tenant, status="active")
    (invoice,) = await billing.invoices(tenant)
    assert invoice["status"] == "paid"
    await billing.check_books(tenant)
    await billing.audited(session["id"], "checkout.opened")
    await billing.audited(session["payment_method_id"], "payment_method.added")


async def test_a_card_without_money_leaves_the_invoice_open(billing: Billing) -> None:
    tenant = await billing.create_tenant()
    await given(billing, tenant, "declines")

    await tenant.owner.create("/v1/billing/subscription", PLAN)

    async def tried() -> bool:
        async with httpx.AsyncClient(base_url=billing.pages.url) as client:
            charges = (await client.get("/charges")).json()["data"]
        (invoice,) = await billing.invoices(tenant)
        return any(key.startswith(invoice["id"]) for key in charges)

    await eventually(tried, what="the card was charged")
    assert [invoice["status"] for invoice in await billing.invoices(tenant)] == ["open"]
    await billing.check_books(tenant)


async def test_a_card_that_is_given_for_what_is_due_pays_it_at_once(billing: Billing) -> None:
    tenant = await billing.create_tenant(tenant_created(trial_days=0))
    by_hand = await tenant.owner.create("/v1/billing/subscription", PLAN)

    await given(billing, tenant, "pays")

    assert (by_hand["status"], by_hand["payment_pending"]) == ("incomplete", True)
    await billing.until(tenant, status="active", payment_pending=False)
    await billing.check_books(tenant)


async def test_payment_methods_are_listed_and_deleted(billing: Billing) -> None:
    tenant, stranger = await billing.create_tenant(), await billing.create_tenant()
    methods = "/v1/billing/payment-methods"
    first, second = [(await given(billing, tenant, "pays"))["payment_method_id"] for _ in range(2)]

    listed = (await tenant.owner.read(methods))["data"]
    foreign = await stranger.owner.delete(f"{methods}/{second}")
    deleted = [(await tenant.owner.delete(f"{methods}/{second}")).status_code for _ in range(2)]
    left = (await tenant.owner.read(methods))["data"]

    assert [(one["id"], one["is_default"]) for one in listed] == [(second, True), (first, False)]
    assert listed[0]["label"]
    refused(foreign, 404, "payment_method_not_found")
    assert deleted == [204, 204]
    # Nobody has agreed to pay by the other one.
    assert [(one["id"], one["is_default"]) for one in left] == [(first, False)]
    await billing.audited(second, "payment_method.added", "payment_method.deleted")


async def test_a_page_on_which_none_was_given_expires(billing: Billing) -> None:
    tenant = await billing.create_tenant()

    session = await given(billing, tenant, "")

    assert (session["status"], session["payment_method_id"]) == ("expired", None)
    refused(
        await tenant.owner.post("/v1/billing/invoices/inv_01h455vb4pex5vsknk084sn02q/pay"), 404, "invoice_not_found"
    )


async def test_a_checkout_session_is_its_tenants(billing: Billing) -> None:
    tenant, stranger = await billing.create_tenant(), await billing.create_tenant()
    opened = await tenant.owner.create(PATH)

    refused(await stranger.owner.get(f"{PATH}/{opened['id']}"), 404, "checkout_session_not_found")


async def test_a_provider_that_is_away_opens_no_page(billing: Billing, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise httpx.ConnectError("away")

    tenant = await billing.create_tenant()
    monkeypatch.setattr(FakeProvider, "open_setup", away)

    refused(await tenant.owner.post(PATH), 503, "payment_provider_unavailable")


async def test_connections_to_the_provider_are_closed_when_the_process_stops(backing: BackingStack) -> None:
    closed = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        # The body of the request, and then nothing until the other side closes.
        await reader.read()
        writer.close()
        closed.set()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as provider:
        settings = await settings_of(
            backing,
            "billing",
            Settings,
            payment_provider="stripe",
            stripe_api_key=SecretStr("sk_test_1"),
            stripe_api_url=f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}",
            checkout_return_url="https://console.example.com",
        )
        async with serve(Billing, create_app, settings) as service:
            await service.people.introduce()
            tenant = await service.create_tenant()
            refused(await tenant.owner.post(PATH), 503, "payment_provider_unavailable")
            assert not closed.is_set()

        await asyncio.wait_for(closed.wait(), timeout=10)


async def test_without_a_provider_invoices_are_paid_by_hand() -> None:
    with pytest.raises(PaymentsByHand):
        await checkout.open_session(cast(Any, None), cast(Any, None), None, "")


def test_a_page_is_looked_at_often_at_first() -> None:
    opened_at = datetime.now(UTC)

    assert look_again(opened_at, opened_at) == SOON
    assert look_again(opened_at, opened_at + 10 * LATER) == LATER
