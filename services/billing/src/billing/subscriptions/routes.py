"""Routes of subscriptions. All are exempt from 402: here a tenant sees why it is refused, and buys."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from billing import subscriptions
from billing.subscriptions.schemas import (
    Cancellation,
    Grant,
    PlanChange,
    PlanChoice,
    Preview,
    Purchase,
    Subscription,
    TenantSubscription,
    TrialExtension,
)
from billing.subscriptions.terms import Status
from shared.api import CurrentActor, CurrentCaller, IfMatch, Page, PageRequest, Reading, Router, Transaction, requires
from shared.ids import TenantId


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])
    _add_reads(routes)
    _add_commands(routes)
    _add_operator_routes(routes)
    return routes


def _add_reads(routes: Router) -> None:
    @routes.get("/v1/billing/subscription")
    @requires("billing.read", exempt_from_402=True)
    async def get_subscription(session: Reading, caller: CurrentCaller) -> Subscription:
        """Get the tenant's subscription."""
        return await subscriptions.get(session, caller.tenant_id, datetime.now(UTC))

    @routes.post("/v1/billing/subscription/preview")
    @requires("billing.read", exempt_from_402=True)
    async def preview_subscription(choice: PlanChoice, session: Reading, caller: CurrentCaller) -> Preview:
        """Show what buying a plan, or changing to it, would cost now."""
        return await subscriptions.preview(session, caller.tenant_id, choice.plan, datetime.now(UTC))


def _add_commands(routes: Router) -> None:
    @routes.post("/v1/billing/subscription")
    @requires("billing.manage", exempt_from_402=True)
    async def subscribe(
        purchase: Purchase, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Subscription:
        """Buy a plan."""
        return await subscriptions.subscribe(
            session,
            actor,
            actor.caller.tenant_id,
            if_match,
            purchase.plan,
            payment_method=purchase.payment_method,
            expected_amount_due=purchase.expected_amount_due,
            at=datetime.now(UTC),
        )

    @routes.post("/v1/billing/subscription/change")
    @requires("billing.manage", exempt_from_402=True)
    async def change_subscription(
        change: PlanChange, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Subscription:
        """Change the plan: to a dearer one at once, to a cheaper one at the period's end."""
        return await subscriptions.change(
            session,
            actor,
            actor.caller.tenant_id,
            if_match,
            change.plan,
            expected_amount_due=change.expected_amount_due,
            at=datetime.now(UTC),
        )

    @routes.post("/v1/billing/subscription/cancel")
    @requires("billing.manage", exempt_from_402=True)
    async def cancel_subscription(
        cancellation: Cancellation, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Subscription:
        """End the subscription, with its period or at once."""
        return await subscriptions.cancel(
            session,
            actor,
            actor.caller.tenant_id,
            if_match,
            at_once=cancellation.at == "now",
            at=datetime.now(UTC),
        )

    @routes.post("/v1/billing/subscription/resume")
    @requires("billing.manage", exempt_from_402=True)
    async def resume_subscription(session: Transaction, actor: CurrentActor, if_match: IfMatch) -> Subscription:
        """Withdraw a cancellation at the period's end."""
        return await subscriptions.resume(session, actor, actor.caller.tenant_id, if_match, datetime.now(UTC))


def _add_operator_routes(routes: Router) -> None:
    @routes.get("/v1/billing/tenants")
    @requires("platform.tenants.read", exempt_from_402=True)
    async def list_tenant_subscriptions(
        session: Reading,
        caller: CurrentCaller,
        paging: PageRequest,
        status: Annotated[Status | None, Query(description="Only subscriptions in this status.")] = None,
    ) -> Page[TenantSubscription]:
        """List the subscriptions of all tenants, those first whose access ends first."""
        return await subscriptions.list_all(session, paging, livemode=caller.livemode, status=status)

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
        at = datetime.now(UTC)
        return await subscriptions.extend_trial(session, actor, tenant_id, if_match, extension.trial_ends_at, at)

    @routes.post("/v1/billing/tenants/{tenant_id}/grant")
    @requires("platform.billing.write", exempt_from_402=True)
    async def grant_subscription(
        tenant_id: TenantId, grant: Grant, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Subscription:
        """Give a tenant access to a plan until an instant, free of charge."""
        at = datetime.now(UTC)
        return await subscriptions.grant(session, actor, tenant_id, if_match, grant.plan, grant.until, at)
