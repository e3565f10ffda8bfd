"""Routes of the event feed and of event types."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query

from shared.api import CurrentCaller, Page, PageRequest, Reading, Router, Searching, requires
from shared.ids import LocationId
from shared.timestamps import Timestamp
from webhooks.endpoints import READ, EventTypePattern
from webhooks.events import event_types, feed, preview
from webhooks.events.schemas import EventType, Feed, MatchPreview, MatchPreviewIn


def router(retention: timedelta) -> Router:
    """The routes. `retention`: how long events are kept."""
    routes = Router(tags=["events"])

    @routes.get("/v1/events")
    @requires(READ)
    async def list_events(
        session: Reading,
        caller: CurrentCaller,
        paging: PageRequest,
        event_type: Annotated[
            EventTypePattern | None, Query(description="Only of this type, or with this prefix (`job.*`).")
        ] = None,
        location_id: Annotated[LocationId | None, Query(description="Only of this location.")] = None,
        created_from: Annotated[
            Timestamp | None,
            Query(description="Only events at or after this instant; by default from the oldest that is stored."),
        ] = None,
    ) -> Feed:
        """List events in the order of their publication, oldest first. No event is ever added before one that you have seen.

        With filters a request examines 5,000 events: its page may be short or empty and still have more.
        Continue with `next_cursor`: at once while `has_more`, later for new events. A cursor is refused (400, `cursor_expired`) if events
        after it were deleted, so without an error you have missed nothing.
        """
        return await feed.read_feed(
            session,
            caller,
            paging,
            event_type=event_type,
            location_id=location_id,
            created_from=created_from,
            retention=retention,
            now=datetime.now(UTC),
        )

    @routes.post("/v1/webhook-endpoints/preview-match")
    @requires(READ)
    async def preview_webhook_endpoint_match(
        wanted: MatchPreviewIn, session: Searching, caller: CurrentCaller
    ) -> MatchPreview:
        """Count the events of the past that an endpoint with these event types and locations would have got. Nothing is changed."""
        return await preview.preview_match(session, caller, wanted, datetime.now(UTC))

    @routes.get("/v1/event-types")
    @requires(READ)
    async def list_event_types(caller: CurrentCaller) -> Page[EventType]:
        """List the event types, each with its JSON Schema and an example."""
        return event_types.list_event_types()

    return routes
