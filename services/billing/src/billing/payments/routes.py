"""Routes of payment methods. They are given on a page of the provider (`checkout`)."""

from datetime import UTC, datetime

from billing import payments
from billing.payments import PaymentMethod
from shared.api import CurrentActor, CurrentCaller, Page, PageRequest, Reading, Router, Transaction, requires
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
        return await payments.list_methods(session, caller.tenant_id, request)

    @routes.delete("/v1/billing/payment-methods/{payment_method_id}", status_code=204)
    @requires("billing.manage", exempt_from_402=True)
    async def delete_payment_method(
        payment_method_id: PaymentMethodId, session: Transaction, actor: CurrentActor
    ) -> None:
        """Delete a payment method: it is not charged any more, and the newest other one is."""
        await payments.delete_method(session, actor, payment_method_id, datetime.now(UTC))

    return routes
