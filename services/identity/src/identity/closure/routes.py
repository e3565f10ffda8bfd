"""The route that closes tenants."""

from identity import closure
from identity.tenants import Tenant
from shared.api import CurrentActor, Router, Transaction, requires
from shared.ids import TenantId


def router(*, kept_days: int) -> Router:
    """The route, for the app to include."""
    routes = Router(tags=["tenants"])

    @routes.post("/v1/tenants/{tenant_id}/close")
    @requires("platform.tenants.write")
    async def close_tenant(tenant_id: TenantId, session: Transaction, actor: CurrentActor) -> Tenant:
        """Close a tenant for good."""
        return await closure.close(session, actor, tenant_id, kept_days=kept_days)

    return routes
