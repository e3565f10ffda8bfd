"""What is asked of Stripe has the shape that Stripe's specification gives it, page and charge: `stripe-mock` refuses any other."""

import httpx
import pytest

from billing.providers import Charge, Declined, HostedPage, Setup
from billing.providers.stripe import StripeProvider
from shared.ids import new_id
from tests.harness.runtimes import has_stripe_mock
from tests.harness.stripe_mock import stripe_mock

KEY = "sk_test_12345"

# Without it there is nothing to see here, and the end of the run says so.
if has_stripe_mock():

    @pytest.mark.timeout(200)
    async def test_whatever_is_asked_of_stripe_has_the_shape_that_it_specifies() -> None:
        async with stripe_mock() as mock:
            provider = StripeProvider(KEY, url=mock.url)
            setup = Setup(new_id("chk"), new_id("ten"), "https://console.example.com/back", livemode=False)
            charge = Charge("inv_1_1", new_id("ten"), new_id("inv"), "pm_1", 5145, "CAD", livemode=False)

            page = await provider.open_setup(setup)
            await provider.look_up_setup("cs_1")
            await provider.charge(charge)
            await provider.look_up(charge)
            mock.attached = False
            detached = await provider.charge(charge)
            await provider.close()
            async with httpx.AsyncClient(base_url=mock.url, auth=(KEY, "")) as client:
                misspelled = await client.post("/v1/payment_intents", data={"amuont": "1"})

        assert isinstance(page, HostedPage)
        assert misspelled.status_code == 400
        assert detached == Declined("payment_method_detached", is_final=True)
        assert [(asked, status) for asked, status, _ in mock.answered[:-1]] == [
            ("POST /v1/customers", 200),
            ("POST /v1/checkout/sessions", 200),
            ("GET /v1/checkout/sessions/cs_1", 200),
            ("GET /v1/payment_methods/pm_1", 200),
            ("POST /v1/payment_intents", 200),
            ("GET /v1/payment_methods/pm_1", 200),
            ("GET /v1/payment_intents", 200),
            ("GET /v1/payment_methods/pm_1", 200),
        ], mock.answered
