"""Routes of the event feed and of event types."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Header, Query, Request, Response

from shared.api import CurrentCaller, CursorsOfList, Page, PageRequest, Reading, Router, requires
from shared.api.event_streams import EventStreams, event_stream_of, format_event, wants_event_stream
from shared.ids import LocationId
from shared.postgres.database import Database
from shared.timestamps import Timestamp
from webhooks.endpoints import READ, EventTypePattern
from webhooks.events import event_types, feed
from webhooks.events.schemas import EventType, Feed
from webhooks.events.stream import stream_feed
from webhooks.notices import ENDPOINTS, EVENTS

CURSOR_LENGTH_MAX = 1_000

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=CURSOR_LENGTH_MAX,
        description="Of a stream: the last id that was received; it continues after it. Browsers send it by themselves.",
        examples=["eyJhZnRlciI6MTJ9"],
    ),
]


_EXAMPLE = b"".join(
    (
        format_event("event", {"object": "event", "id": "evt_01h455vb4pex5vsknk084sn02q", "type": "job.created"}),
        format_event(
            "changed",
            {"object": "notice", "names": ["webhook-endpoints/ep_01h455vb4pex5vsknk084sn02q"], "everything": False},
        ),
    )
)


def router(streams: EventStreams, database: Database, retention: timedelta) -> Router:
    """The routes. `streams` bounds how many are open; `retention`: how long events are kept."""
    routes = Router(tags=["events"])
    _add_feed(routes, streams, database, retention)
    _add_types(routes)
    return routes


def _add_feed(routes: Router, streams: EventStreams, database: Database, retention: timedelta) -> None:
    @routes.get(
        "/v1/events",
        response_model=Feed,
        responses={200: event_stream_of("The events: a page, or a stream.", _EXAMPLE)},
    )
    @requires(READ)
    async def list_events(
        session: Reading,
        caller: CurrentCaller,
        paging: PageRequest,
        cursors: CursorsOfList,
        request: Request,
        event_type: Annotated[
            EventTypePattern | None, Query(description="Only of this type, or with this prefix (`job.*`).")
        ] = None,
        location_id: Annotated[LocationId | None, Query(description="Only of this location.")] = None,
        created_from: Annotated[
            Timestamp | None,
            Query(description="Only events at or after this instant; by default from the oldest that is stored."),
        ] = None,
        last_event_id: LastEventId = None,
    ) -> Feed | Response:
        """List events in the order of their publication, oldest first. No event is ever added before one that you have seen.

        With filters a request examines 5,000 events: its page may be short or empty and still have more.
        Continue with `next_cursor`: at once while `has_more`, later for new events. A cursor is refused (400, `cursor_expired`) if events
        after it were deleted, so without an error you have missed nothing.

        With `Accept: text/event-stream` the answer is a stream: each event is called `event`, in the same order, at least once, at most a
        quarter of a second late. It begins with what is published from now on, or after `cursor`, or after `Last-Event-ID`. Between them,
        `changed` names endpoints that have new results (`webhook-endpoints/ep_…`); if `everything` is true, as at first, any may have. The
        stream ends after at most five minutes: connect again. 429 while too many of the tenant are open, 503 while too many of all are.
        """
        asked = feed.FeedFilters(event_type, location_id, created_from)
        now = datetime.now(UTC)
        if not wants_event_stream(request):
            return await feed.read_feed(session, caller, paging, asked, retention=retention, now=now)
        begin = last_event_id or request.query_params.get("cursor")
        first = cursors.paging(1, begin)
        if begin is None and created_from is None:
            cursor: str | None = await feed.end_cursor(session, caller, first, asked, now)
        else:
            # Refuses a cursor that is wrong or too old while there is still an answer to do it with.
            await feed.read_feed(session, caller, first, asked, retention=retention, now=now)
            cursor = begin
        return streams.begin(
            caller,
            {EVENTS, ENDPOINTS},
            lambda changes: stream_feed(changes, database, caller, cursors, cursor, asked, retention=retention),
        )


def _add_types(routes: Router) -> None:
    @routes.get("/v1/event-types")
    @requires(READ)
    async def list_event_types(caller: CurrentCaller) -> Page[EventType]:
        """List the event types, each with its JSON Schema and an example."""
        return event_types.list_event_types()
