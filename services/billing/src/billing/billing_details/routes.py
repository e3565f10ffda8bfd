"""Routes of billing details."""

from billing import billing_details
from billing.billing_details.schemas import BillingDetails, BillingDetailsPatch
from shared.api import CurrentActor, CurrentCaller, IfMatch, Reading, Router, Transaction, requires
from shared.fields.merge_patch import merge_patch_body


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])

    @routes.get("/v1/billing/details")
    @requires("billing.read", exempt_from_402=True)
    async def get_billing_details(session: Reading, caller: CurrentCaller) -> BillingDetails:
        """Get where the tenant is taxed."""
        return await billing_details.get(session, caller.tenant_id)

    @routes.patch("/v1/billing/details", openapi_extra=merge_patch_body("BillingDetailsPatch"))
    @requires("billing.manage", exempt_from_402=True)
    async def update_billing_details(
        body: BillingDetailsPatch, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> BillingDetails:
        """Say where the tenant is taxed: the next invoice goes by it."""
        return await billing_details.update(session, actor, if_match, body)

    return routes
