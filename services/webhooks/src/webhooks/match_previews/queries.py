"""How many events of the past an endpoint would have got, before it is made or changed."""

from collections import Counter
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access.principals import Caller
from shared.errors import Violation
from shared.ids import first_id_at, to_uuid
from webhooks.endpoints import require_valid, wants_type
from webhooks.events import SETTLED
from webhooks.match_previews.schemas import MatchPreview, MatchPreviewIn, TypeMatches
from webhooks.postgres import first_id_of_day

EXAMINED_MAX = 20_000
RANGE_DEFAULT = timedelta(days=1)

# As in the feed, days leave out partitions, and the instants themselves are conditions on each examined event. The limit is part of the
# text: with a parameter PostgreSQL would keep a generic plan that reads and sorts everything.
_COUNT = text(
    f"""
    WITH looked_at AS MATERIALIZED (
        SELECT id, type, location_ids FROM events
        WHERE tenant_id = :tenant_id AND livemode = :livemode AND position < {SETTLED} AND id >= :first_of_day AND id < :end_of_day
        ORDER BY position DESC LIMIT {EXAMINED_MAX}
    )
    SELECT type, coalesce(CAST(:location_ids AS uuid[]) && location_ids, true) AS at_location, count(*) AS events,
        (SELECT count(*) FROM looked_at) AS examined
    FROM looked_at WHERE id >= :first AND id < :end GROUP BY type, at_location
    """  # noqa: S608 - our own text
)


async def preview_match(session: AsyncSession, caller: Caller, wanted: MatchPreviewIn, now: datetime) -> MatchPreview:
    """The events of the range by type, and those that this subscription wants. Raises `Invalid` for an empty range."""
    until = min(wanted.until or now, now)
    since = wanted.since or until - RANGE_DEFAULT
    if since >= until:
        require_valid([Violation("/since", "range_empty", "must be earlier than until, and in the past")], "preview")
    values = {
        "tenant_id": to_uuid(caller.tenant_id),
        "livemode": caller.livemode,
        "first": first_id_at(since),
        "first_of_day": first_id_of_day(since),
        "end": first_id_at(until),
        "end_of_day": first_id_of_day(until, days_before=-1),
        "location_ids": None if wanted.location_ids is None else [to_uuid(one) for one in wanted.location_ids],
    }
    events, matched, examined = Counter[str](), Counter[str](), 0
    for row in (await session.execute(_COUNT, values)).all():
        examined = row.examined
        events[row.type] += row.events
        if row.at_location and wants_type(wanted.event_types, row.type):
            matched[row.type] += row.events
    return MatchPreview(
        since=since,
        until=until,
        events=events.total(),
        matched=matched.total(),
        by_type=[TypeMatches(event_type=name, events=events[name], matched=matched[name]) for name in sorted(events)],
        is_partial=examined == EXAMINED_MAX,
    )
