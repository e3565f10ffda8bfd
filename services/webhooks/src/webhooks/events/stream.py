"""The feed as a stream: events as they are published, and which endpoints have new results.

Each event is sent at least once, in the order of the feed: who comes back with the last id continues after it. The feed is read after
each notice (`shared.live`), and when there was none for a while: an event may become visible only after its notice.
"""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from shared.access.principals import Caller
from shared.api.cursors import Cursors
from shared.api.event_streams import KEEP_ALIVE, format_event
from shared.live import Changes
from shared.postgres.database import Database
from webhooks.events.feed import FeedFilters, read_feed
from webhooks.events.schemas import Feed
from webhooks.notices import ENDPOINTS, EVENTS

PAGE_EVENTS = 100


async def stream_feed(
    changes: AsyncIterator[Changes],
    database: Database,
    caller: Caller,
    cursors: Cursors,
    cursor: str | None,
    asked: FeedFilters,
    *,
    retention: timedelta,
) -> AsyncIterator[bytes]:
    """The events after the cursor, and `changed` with the names of endpoints that have new results."""
    async for change in changes:
        if not change:
            yield KEEP_ALIVE
        names = sorted(name for name in change.names if name.partition("/")[0] == ENDPOINTS)
        if not change or change.everything or EVENTS in change.names:
            has_more = True
            while has_more:
                async with database.reading() as session:
                    paging = cursors.paging(PAGE_EVENTS, cursor)
                    page = await read_feed(session, caller, paging, asked, retention=retention, now=datetime.now(UTC))
                cursor, has_more = page.next_cursor, page.has_more
                yield _events(page)
        if names or change.everything:
            yield format_event("changed", {"object": "notice", "names": names, "everything": change.everything})


def _events(page: Feed) -> bytes:
    # The last one has the id: whoever misses a part of a page gets the whole page again.
    return b"".join(
        format_event(
            "event",
            json.dumps(event.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")),
            event_id=page.next_cursor if event is page.data[-1] else None,
        )
        for event in page.data
    )
