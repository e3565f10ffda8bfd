"""Routes of plans."""

from billing import plans
from billing.plans import Plan
from shared.api import Page, Reading, Router, authenticated


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])

    @routes.get("/v1/billing/plans")
    @authenticated(exempt_from_402=True)
    async def list_plans(session: Reading) -> Page[Plan]:
        """List the plans that are on sale."""
        return Page(data=await plans.list_on_sale(session), has_more=False)

    return routes
