"""Routes of the settings of a tenant."""

from identity import tenant_settings
from identity.tenant_settings.rules import SessionLimits
from identity.tenant_settings.schemas import TenantSettings, TenantSettingsPatch
from shared.api import CurrentActor, IfMatch, Reading, Router, Transaction, authenticated, requires
from shared.fields.merge_patch import merge_patch_body


def router(limits: SessionLimits) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["tenants"])

    @routes.get("/v1/tenant/settings")
    @authenticated()
    async def get_tenant_settings(session: Reading, actor: CurrentActor) -> TenantSettings:
        """Get the settings of the tenant that you act in."""
        return await tenant_settings.get(session, actor, limits)

    @routes.patch("/v1/tenant/settings", openapi_extra=merge_patch_body("TenantSettingsPatch"))
    @requires("settings.tenant.write")
    async def update_tenant_settings(
        body: TenantSettingsPatch, session: Transaction, actor: CurrentActor, if_match: IfMatch
    ) -> TenantSettings:
        """Change settings of the tenant that you act in."""
        return await tenant_settings.update(session, actor, if_match, body, limits)

    return routes
