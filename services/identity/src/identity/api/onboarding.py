"""The route that creates tenants."""

from identity import tenants
from identity.api.author import CurrentAuthor
from identity.models.tenants import NewTenant, TenantIn
from identity.passwords import Passwords
from shared.api import Router, Transaction, requires


def router(passwords: Passwords) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["tenants"])

    @routes.post("/v1/tenants", status_code=201)
    @requires("platform.tenants.write")
    async def create_tenant(body: TenantIn, session: Transaction, author: CurrentAuthor) -> NewTenant:
        """Create a tenant with its owner and a default location."""
        return await tenants.create(session, author, passwords, body)

    return routes
