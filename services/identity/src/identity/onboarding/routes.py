"""The route that creates tenants."""

from identity import onboarding
from identity.logins import Passwords
from identity.onboarding.schemas import CreatedTenant, TenantIn
from shared.api import CurrentActor, Router, Transaction, requires


def router(passwords: Passwords) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["tenants"])

    @routes.post("/v1/tenants", status_code=201)
    @requires("platform.tenants.write")
    async def create_tenant(body: TenantIn, session: Transaction, actor: CurrentActor) -> CreatedTenant:
        """Create a tenant with its owner and a default location."""
        return await onboarding.create_tenant(session, actor, passwords, body)

    return routes
