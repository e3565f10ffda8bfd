"""Routes of previews."""

from datetime import UTC, datetime

from shared.api import CurrentCaller, Router, Searching, requires
from webhooks import match_previews
from webhooks.endpoints import READ
from webhooks.match_previews.schemas import MatchPreview, MatchPreviewIn


def router() -> Router:
    """The routes."""
    routes = Router(tags=["webhook endpoints"])

    @routes.post("/v1/webhook-endpoints/preview-match")
    @requires(READ)
    async def preview_webhook_endpoint_match(
        wanted: MatchPreviewIn, session: Searching, caller: CurrentCaller
    ) -> MatchPreview:
        """Count the events of the past that an endpoint with these event types and locations would have got. Nothing is changed."""
        return await match_previews.preview_match(session, caller, wanted, datetime.now(UTC))

    return routes
