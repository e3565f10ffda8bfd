"""What billing relies on of a payment provider, whichever it is.

Where invoices are paid by hand (`manual`) nobody is behind the port: nothing is charged, looked up or notified, and no page opens. What is
promised then is in `test_purchases.py` (bought by invoice, marked as paid) and `test_checkout.py` (no page: 409).
"""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import stripe

from billing.providers import (
    Charge,
    Declined,
    MethodGiven,
    PaymentProvider,
    Setup,
    SetupEnded,
    SetupOpen,
    Succeeded,
)
from billing.providers.fake import FakeProvider
from billing.providers.stripe import StripeProvider
from shared.ids import new_id
from tests.harness.payments import FakeServer, ProviderServer, fake_server, stripe_server

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module", params=["fake", "stripe"])
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProviderServer]:
    folder: Path = tmp_path_factory.mktemp("provider")
    async with fake_server() if request.param == "fake" else stripe_server(folder) as running:
        yield running


@pytest.fixture(scope="module")
async def fake() -> AsyncIterator[FakeServer]:
    async with fake_server() as running:
        yield running


def order(method: str, amount: int = 5634) -> Charge:
    """A new charge of this method."""
    invoice_id = new_id("inv")
    return Charge(
        key=f"{invoice_id}_1",
        tenant_id=new_id("ten"),
        invoice_id=invoice_id,
        method=method,
        amount=amount,
        currency="CAD",
        livemode=False,
    )


async def test_a_charge_takes_the_amount_and_is_found_by_its_key(server: ProviderServer) -> None:
    method = await server.card("pays")
    first, second = order(method), order(method, amount=1)

    assert await server.provider.look_up(first) is None
    taken = await server.provider.charge(first)

    assert isinstance(taken, Succeeded)
    assert await server.provider.look_up(first) == await server.provider.charge(first) == taken
    assert await server.provider.look_up(second) is None
    other = await server.provider.charge(second)
    assert isinstance(other, Succeeded)
    assert other.reference != taken.reference
    assert await server.provider.look_up(first) == taken


async def test_a_card_without_money_is_declined_and_may_do_later(server: ProviderServer) -> None:
    charge = order(await server.card("declines"))

    result = await server.provider.charge(charge)

    assert isinstance(result, Declined)
    assert (result.code in ("insufficient_funds", "card_declined"), result.is_final) == (True, False)
    assert await server.provider.look_up(charge) == await server.provider.charge(charge) == result


async def test_a_card_that_nobody_knows_will_never_do(server: ProviderServer) -> None:
    result = await server.provider.charge(order("pm_unknown"))

    assert isinstance(result, Declined)
    assert result.is_final


@pytest.mark.parametrize("away", [FakeProvider(NOWHERE), StripeProvider("sk_test_1", url=NOWHERE)])
async def test_a_provider_that_is_away_raises_so_the_result_is_unknown(away: FakeProvider | StripeProvider) -> None:
    with pytest.raises((httpx.TransportError, stripe.APIConnectionError)):
        await away.charge(order("pm_1"))


# -- what the provider for trying things out can do --------------------------------------------------------------------


@pytest.mark.parametrize(("card", "known"), [("hangs_up_before", False), ("hangs_up_after", True)])
async def test_a_provider_that_hangs_up_is_asked_again_with_the_same_key(
    fake: FakeServer, card: str, known: bool
) -> None:
    charge = order(await fake.card(card))

    with pytest.raises(httpx.TransportError):
        await fake.provider.charge(charge)
    found = await fake.provider.look_up(charge)
    results = [await fake.provider.charge(charge) for _ in range(2)]

    assert isinstance(found, Succeeded) is known
    assert isinstance(results[0], Succeeded)
    assert results[0] == results[1] == (found or results[0])


async def test_an_expired_card_will_never_do(fake: FakeServer) -> None:
    assert await fake.provider.charge(order(await fake.card("is_expired"))) == Declined("expired_card", is_final=True)


async def test_a_page_gives_a_card_that_can_be_charged(fake: FakeServer) -> None:
    provider: PaymentProvider = FakeProvider(fake.url)
    setup = Setup(new_id("chk"), new_id("ten"), "https://console.example.com/back", livemode=False)

    page = await provider.open_setup(setup)
    assert page == await provider.open_setup(setup)
    assert await provider.look_up_setup(page.reference) == SetupOpen()
    answer = await fake.fill_in(page.url, "pays")

    assert (answer.status_code, answer.headers["Location"]) == (303, setup.return_url)
    given = await provider.look_up_setup(page.reference)
    assert isinstance(given, MethodGiven)
    assert isinstance(await provider.charge(order(given.reference)), Succeeded)


async def test_a_page_on_which_none_is_given_has_ended(fake: FakeServer) -> None:
    provider: PaymentProvider = FakeProvider(fake.url)
    page = await provider.open_setup(Setup(new_id("chk"), new_id("ten"), "", livemode=False))

    await fake.fill_in(page.url, "")
    await fake.fill_in(page.url, "pays")

    assert await provider.look_up_setup(page.reference) == SetupEnded()
