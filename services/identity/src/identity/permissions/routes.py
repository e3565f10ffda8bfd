"""Routes of the catalogue of permissions and of their explanation."""

from typing import Annotated

from fastapi import Query

from identity import permissions
from identity.fields import PermissionCode
from identity.permissions.schemas import Explanation, PermissionCatalog
from shared.access.credentials import Peppers
from shared.api import CurrentActor, Reading, Router, authenticated
from shared.fields.text import QueryText

SUBJECT_CHARS_MAX = 64


def router(peppers: Peppers) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["API keys"])

    @routes.get("/v1/permissions/catalog")
    @authenticated(merchant_session=True, exempt_from_402=True)
    async def get_permission_catalog() -> PermissionCatalog:
        """List all permissions with what they allow."""
        return permissions.get_catalog()

    @routes.get("/v1/permissions/explain")
    @authenticated(merchant_session=True, exempt_from_402=True)
    async def explain_permission(
        session: Reading,
        actor: CurrentActor,
        permission: Annotated[PermissionCode, Query(description="A permission of the catalogue.")],
        subject: Annotated[
            QueryText,
            Query(
                max_length=SUBJECT_CHARS_MAX,
                description="A user, a merchant, an API key or an API Account ID; by default yourself.",
                examples=["usr_01h455vb4pex5vsknk084sn02q"],
            ),
        ] = None,
    ) -> Explanation:
        """Explain whether somebody may do something, and why."""
        return await permissions.explain(session, actor, peppers, subject, permission)

    return routes
