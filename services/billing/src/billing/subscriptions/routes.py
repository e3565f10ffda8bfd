"""Billing over HTTP. Every route is open to tenants that have not paid: it is where they see why, and put it right."""

from datetime import UTC, datetime

from fastapi import Request

from billing import subscriptions
from billing.audit import Actor
from billing.subscriptions.schemas import Subscription, TrialExtension
from shared.api import CurrentCaller, IfMatch, Reading, Router, Transaction, requires
from shared.ids import TenantId


def router() -> Router:
    """Billing's routes."""
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
        caller: CurrentCaller,
        if_match: IfMatch,
        request: Request,
    ) -> Subscription:
        """Move the end of a tenant's trial."""
        actor = Actor(caller.actor, request.client.host if request.client else None)
        now = datetime.now(UTC)
        return await subscriptions.extend_trial(
            session, actor, tenant_id, extension.trial_ends_at, now, check_version=if_match.check
        )

    return routes
