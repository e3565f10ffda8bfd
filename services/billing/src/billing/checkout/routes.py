"""Routes of checkout sessions."""

from billing import checkout
from billing.checkout.schemas import CheckoutSession
from billing.providers import PaymentProvider
from shared.api import CurrentActor, CurrentCaller, Reading, Router, Transactions, requires
from shared.ids import CheckoutSessionId


def router(provider: PaymentProvider | None, return_url: str) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])

    @routes.post("/v1/billing/checkout-sessions", status_code=201)
    @requires("billing.manage", exempt_from_402=True)
    async def create_checkout_session(transactions: Transactions, actor: CurrentActor) -> CheckoutSession:
        """Open a page of the payment provider on which a person gives a payment method."""
        return await checkout.open_session(transactions, actor, provider, return_url)

    @routes.get("/v1/billing/checkout-sessions/{checkout_session_id}")
    @requires("billing.read", exempt_from_402=True)
    async def get_checkout_session(
        checkout_session_id: CheckoutSessionId, session: Reading, caller: CurrentCaller
    ) -> CheckoutSession:
        """Get a checkout session: whether the payment method was given."""
        return await checkout.get(session, caller.tenant_id, checkout_session_id)

    return routes
