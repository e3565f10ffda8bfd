"""Routes of health."""

from datetime import UTC, datetime

from shared.api import CurrentCaller, Router, Searching, requires
from webhooks import health_reports
from webhooks.endpoints import READ, DisablePolicy
from webhooks.health_reports.schemas import WebhookHealth


def router(disable_policy: DisablePolicy) -> Router:
    """The routes."""
    routes = Router(tags=["webhook endpoints"])

    @routes.get("/v1/webhook-health")
    @requires(READ)
    async def get_webhook_health(session: Searching, caller: CurrentCaller) -> WebhookHealth:
        """Read the health of all endpoints, and of the locations whose events they get: the last 24 hours, and now."""
        return await health_reports.get_health(session, caller, disable_policy, datetime.now(UTC))

    return routes
