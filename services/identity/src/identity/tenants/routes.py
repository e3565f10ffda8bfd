"""Routes of tenants."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from identity import tenants
from identity.tenants.schemas import BusiestTenants, Tenant, TenantPatch, TenantStatus
from shared.api import (
    CurrentActor,
    IfMatch,
    Page,
    PageRequest,
    Reading,
    Router,
    Transaction,
    also_answers,
    authenticated,
    requires,
)
from shared.fields.merge_patch import merge_patch_body
from shared.ids import TenantId

HOURS_MAX = 168
HOURS_DEFAULT = 24
BUSIEST_MAX = 200
BUSIEST_DEFAULT = 20


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["tenants"])

    @routes.get("/v1/tenants")
    @requires("platform.tenants.read")
    async def list_tenants(
        session: Reading,
        actor: CurrentActor,
        paging: PageRequest,
        status: Annotated[TenantStatus | None, Query(description="Only tenants in this status.")] = None,
    ) -> Page[Tenant]:
        """List tenants."""
        return await tenants.list_tenants(session, actor, paging, status=status)

    _add_busiest(routes)

    @routes.get("/v1/tenants/{tenant_id}")
    @requires("platform.tenants.read")
    async def get_tenant(tenant_id: TenantId, session: Reading, actor: CurrentActor) -> Tenant:
        """Get a tenant."""
        return await tenants.get(session, actor, tenant_id)

    @routes.patch("/v1/tenants/{tenant_id}", openapi_extra=merge_patch_body("TenantPatch"))
    @requires("platform.tenants.write")
    async def update_tenant(
        tenant_id: TenantId, body: TenantPatch, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Tenant:
        """Change a tenant."""
        return await tenants.update(session, actor, tenant_id, if_match, body)

    @routes.post("/v1/tenants/{tenant_id}/suspend", responses=also_answers(200, "Revocation-Id"))
    @requires("platform.tenants.write")
    async def suspend_tenant(tenant_id: TenantId, session: Transaction, actor: CurrentActor) -> Tenant:
        """Suspend a tenant."""
        return await tenants.suspend(session, actor, tenant_id)

    @routes.post("/v1/tenants/{tenant_id}/activate")
    @requires("platform.tenants.write")
    async def activate_tenant(tenant_id: TenantId, session: Transaction, actor: CurrentActor) -> Tenant:
        """Activate a suspended tenant."""
        return await tenants.activate(session, actor, tenant_id)

    @routes.get("/v1/tenant")
    @authenticated(merchant_session=True, exempt_from_402=True)
    async def get_own_tenant(session: Reading, actor: CurrentActor) -> Tenant:
        """Get the tenant that you act in."""
        return await tenants.get(session, actor, actor.tenant_id)

    @routes.patch("/v1/tenant", openapi_extra=merge_patch_body("TenantPatch"))
    @requires("settings.tenant.write")
    async def update_own_tenant(
        body: TenantPatch, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> Tenant:
        """Change the tenant that you act in."""
        return await tenants.update_own(session, actor, if_match, body)

    return routes


def _add_busiest(routes: Router) -> None:
    @routes.get("/v1/busiest-tenants")
    @requires("platform.tenants.read")
    async def list_busiest_tenants(
        session: Reading,
        actor: CurrentActor,
        hours: Annotated[
            int, Query(ge=1, le=HOURS_MAX, description="How many hours, the present one included.", examples=[24])
        ] = HOURS_DEFAULT,
        limit: Annotated[
            int, Query(ge=1, le=BUSIEST_MAX, description="How many at most.", examples=[20])
        ] = BUSIEST_DEFAULT,
    ) -> BusiestTenants:
        """List the tenants with most requests with credentials. The counts come about a minute late."""
        return await tenants.list_busiest(session, actor, datetime.now(UTC), hours=hours, limit=limit)
