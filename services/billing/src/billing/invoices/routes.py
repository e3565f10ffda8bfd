"""Routes of invoices."""

from datetime import UTC, datetime

from billing import invoices, subscriptions
from billing.invoices import Invoice
from shared.api import CurrentActor, CurrentCaller, IfMatch, Page, PageRequest, Reading, Router, Transaction, requires
from shared.ids import InvoiceId, TenantId


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])

    @routes.get("/v1/billing/invoices")
    @requires("billing.read", exempt_from_402=True)
    async def list_invoices(session: Reading, caller: CurrentCaller, request: PageRequest) -> Page[Invoice]:
        """List the tenant's invoices, newest first."""
        return await invoices.list_of_tenant(session, caller.tenant_id, request)

    @routes.get("/v1/billing/invoices/{invoice_id}")
    @requires("billing.read", exempt_from_402=True)
    async def get_invoice(invoice_id: InvoiceId, session: Reading, caller: CurrentCaller) -> Invoice:
        """Get an invoice."""
        return await invoices.get(session, caller.tenant_id, invoice_id)

    @routes.post("/v1/billing/invoices/{invoice_id}/pay")
    @requires("billing.manage", exempt_from_402=True)
    async def pay_invoice(
        invoice_id: InvoiceId, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Invoice:
        """Charge an open invoice to the tenant's payment method now."""
        at = datetime.now(UTC)
        return await subscriptions.pay_invoice(session, actor, actor.caller.tenant_id, invoice_id, if_match, at)

    @routes.post("/v1/billing/tenants/{tenant_id}/invoices/{invoice_id}/mark-paid")
    @requires("platform.billing.write", exempt_from_402=True)
    async def mark_invoice_paid(
        tenant_id: TenantId, invoice_id: InvoiceId, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Invoice:
        """Say that an open invoice was paid, in whatever way."""
        at = datetime.now(UTC)
        return await subscriptions.mark_paid(session, actor, tenant_id, invoice_id, if_match, at)

    return routes
