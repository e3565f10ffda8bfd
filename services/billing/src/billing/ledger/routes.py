"""Routes of the ledger."""

from billing import ledger
from billing.ledger import LedgerEntry
from shared.api import CurrentCaller, Page, PageRequest, Reading, Router, requires


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])

    @routes.get("/v1/billing/ledger")
    @requires("billing.read", exempt_from_402=True)
    async def list_ledger_entries(session: Reading, caller: CurrentCaller, request: PageRequest) -> Page[LedgerEntry]:
        """List the tenant's ledger, oldest entries first."""
        return await ledger.list_of_tenant(session, caller.tenant_id, request)

    return routes
