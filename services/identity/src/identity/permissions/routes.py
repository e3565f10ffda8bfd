"""The route of the catalogue of permissions."""

from identity import permissions
from identity.permissions.schemas import PermissionCatalog
from shared.api import Router, authenticated


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["API keys"])

    @routes.get("/v1/permissions/catalog")
    @authenticated(merchant_session=True, exempt_from_402=True)
    async def get_permission_catalog() -> PermissionCatalog:
        """List all permissions with what they allow."""
        return permissions.get_catalog()

    return routes
