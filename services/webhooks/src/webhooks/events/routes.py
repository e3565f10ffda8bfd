"""Events: the catch-up feed, and the catalogue of types."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query

from shared.api import CurrentCaller, Page, PageRequest, Reading, Router, requires
from shared.ids import LocationId
from shared.timestamps import Timestamp
from webhooks.endpoints import READ, EventTypePattern
from webhooks.events import event_types, feed
from webhooks.events.schemas import EventType, Feed


def router(retention: timedelta) -> Router:
    """The routes. Events are kept for `retention`."""
    routes = Router(tags=["events"])

    @routes.get("/v1/events")
    @requires(READ)
    async def list_events(
        session: Reading,
        caller: CurrentCaller,
        paging: PageRequest,
        event_type: Annotated[
            EventTypePattern | None, Query(description="Of this type, or with this prefix (`job.*`).")
        ] = None,
        location_id: Annotated[LocationId | None, Query(description="Of this location.")] = None,
        created_from: Annotated[
            Timestamp | None,
            Query(description="Made at or after this instant; by default from the oldest that is kept."),
        ] = None,
    ) -> Feed:
        """Catch up on events, in the order of their publication: oldest first, and none is ever put in before one you have seen.

        With filters 5,000 events are looked through for an answer: it may be short, even empty, and have more.
        Go on with `next_cursor`: at once while `has_more`, later for what will have happened by then. A cursor that is older than what
        is kept is refused (400, `cursor_expired`), so whoever reads on has missed nothing.
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

    @routes.get("/v1/event-types")
    @requires(READ)
    async def list_event_types(caller: CurrentCaller) -> Page[EventType]:
        """List the types of events, each with its JSON Schema and an example."""
        return event_types.list_event_types()

    return routes
