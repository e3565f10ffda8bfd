"""Routes of subscriptions. All are exempt from 402: here a tenant sees why it is refused."""

from datetime import UTC, datetime

from billing import subscriptions
from billing.subscriptions.schemas import Subscription, TrialExtension
from shared.api import CurrentActor, CurrentCaller, IfMatch, Reading, Router, Transaction, requires
from shared.ids import TenantId


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])

    @routes.get("/v1/billing/subscription")
    @requires("billing.read", exempt_from_402=True)
    async def get_subscription(session: Reading, caller: CurrentCaller) -> Subscription:
        """Get the tenant's subscription."""
        return await subscriptions.get(session, caller.tenant_id, datetime.now(UTC))

    @routes.post("/v1/billing/tenants/{tenant_id}/trial/extend")
    @requires("platform.billing.write", exempt_from_402=True)
    async def extend_trial(
        tenant_id: TenantId,
        extension: TrialExtension,
        session: Transaction,
        actor: CurrentActor,
        if_match: IfMatch,
    ) -> Subscription:
        """Move the end of a tenant's trial."""
        now = datetime.now(UTC)
        return await subscriptions.extend_trial(session, actor, tenant_id, if_match, extension.trial_ends_at, now)

    return routes
