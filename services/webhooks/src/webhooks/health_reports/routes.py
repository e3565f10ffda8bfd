"""Routes of health."""

from datetime import UTC, datetime

from shared.api import CurrentCaller, Page, Reading, Router, Searching, requires
from webhooks import health_reports
from webhooks.endpoints import READ, DisablePolicy
from webhooks.health_reports.schemas import EndpointHealth, WebhookHealth, WebhookLocation


def router(disable_policy: DisablePolicy) -> Router:
    """The routes."""
    routes = Router(tags=["webhook endpoints"])

    @routes.get("/v1/webhook-health")
    @requires(READ)
    async def get_webhook_health(session: Searching, caller: CurrentCaller) -> WebhookHealth:
        """Read the health of all endpoints, and of the locations whose events they get: the last 24 hours, and now."""
        return await health_reports.get_health(session, caller, disable_policy, datetime.now(UTC))

    @routes.get("/v1/webhook-endpoints/{endpoint_id}/health")
    @requires(READ)
    async def get_endpoint_health(session: Searching, caller: CurrentCaller, endpoint_id: str) -> EndpointHealth:
        """Read the health of one endpoint: the last 24 hours, and now."""
        return await health_reports.get_endpoint_health(session, caller, endpoint_id, disable_policy, datetime.now(UTC))

    @routes.get("/v1/webhook-locations")
    @requires(READ)
    async def list_webhook_locations(session: Reading, caller: CurrentCaller) -> Page[WebhookLocation]:
        """List the locations whose events endpoints can get, by name: without any figures."""
        return await health_reports.list_locations(session, caller)

    return routes
