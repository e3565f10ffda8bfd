"""The route of the catalogue of permissions."""

from identity.permissions.schemas import PermissionCatalog, PermissionEntry
from shared.access.permissions import CATALOG
from shared.api import Router, authenticated


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["API keys"])

    @routes.get("/v1/permissions/catalog")
    @authenticated(merchant_session=True, exempt_from_402=True)
    async def get_permission_catalog() -> PermissionCatalog:
        """List all permissions with what they open."""
        entries = [
            PermissionEntry(code=one.code, description=one.description, relevance=one.relevance) for one in CATALOG
        ]
        return PermissionCatalog(data=entries)

    return routes
