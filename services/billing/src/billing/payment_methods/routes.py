"""Routes of payment methods. One is added on a page of the payment provider: see `checkout`."""

from datetime import UTC, datetime

from billing import payment_methods
from billing.payment_methods.schemas import PaymentMethod
from shared.api import CurrentActor, CurrentCaller, IfMatch, Page, PageRequest, Reading, Router, Transaction, requires
from shared.ids import PaymentMethodId


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])

    @routes.get("/v1/billing/payment-methods")
    @requires("billing.manage", exempt_from_402=True)
    async def list_payment_methods(
        session: Reading, caller: CurrentCaller, request: PageRequest
    ) -> Page[PaymentMethod]:
        """List the tenant's payment methods, newest first."""
        return await payment_methods.list_of_tenant(session, caller.tenant_id, request)

    @routes.get("/v1/billing/payment-methods/{payment_method_id}")
    @requires("billing.manage", exempt_from_402=True)
    async def get_payment_method(
        payment_method_id: PaymentMethodId, session: Reading, caller: CurrentCaller
    ) -> PaymentMethod:
        """Get a payment method."""
        return await payment_methods.get(session, caller.tenant_id, payment_method_id)

    @routes.post("/v1/billing/payment-methods/{payment_method_id}/make-default")
    @requires("billing.manage", exempt_from_402=True)
    async def make_payment_method_default(
        payment_method_id: PaymentMethodId, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> PaymentMethod:
        """Charge this payment method from now on, and at once for what is due."""
        return await payment_methods.make_default(session, actor, payment_method_id, if_match, datetime.now(UTC))

    @routes.delete("/v1/billing/payment-methods/{payment_method_id}", status_code=204)
    @requires("billing.manage", exempt_from_402=True)
    async def delete_payment_method(
        payment_method_id: PaymentMethodId, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> None:
        """Delete a payment method. Without a default, the next payment fails until one is given or chosen."""
        await payment_methods.delete(session, actor, payment_method_id, if_match, datetime.now(UTC))

    return routes
