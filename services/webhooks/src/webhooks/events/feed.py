"""The catch-up feed: everything that happened, in the order of its publication, for receivers that want to be sure.

Only what lies below the oldest open transaction is shown, so no event ever appears before one that was shown already. A cursor is good for
as long as events are kept, and one that is older is refused: whoever reads on without an error has missed nothing.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access.principals import Caller
from shared.api import Paging
from shared.api.cursors import LIMIT_MAX
from shared.errors import BadRequest
from shared.ids import from_uuid, to_uuid
from webhooks.endpoints import EVERYTHING
from webhooks.events.fan_out import SETTLED
from webhooks.events.schemas import Feed, FeedEvent
from webhooks.postgres import first_id_at, first_id_of_day, made_at

EXAMINED_MAX = 5_000
"""Events that one request looks through when it asks for some of them only."""

# Of `created_from` its day leaves out the partitions of all days before. The instant itself is a matter of each event: as a condition of
# what is looked at it would have a day be read from its beginning, however many events that has.
# Bodies are read for what is shown alone. The limit of what is looked at stands in the text: a plan that is kept for a limit yet unknown
# reads and sorts everything.
_READ = f"""
    WITH looked_at AS MATERIALIZED (
        SELECT id, position, type, location_ids FROM events
        WHERE tenant_id = :tenant_id AND livemode = :livemode AND position > :after AND position < {SETTLED} AND id >= :first_of_day
        ORDER BY position LIMIT {{examined_max}}
    ),
    found AS MATERIALIZED (
        SELECT id FROM looked_at
        WHERE id >= :first AND (CAST(:event_type AS text) IS NULL OR type = :event_type)
            AND (CAST(:prefix AS text) IS NULL OR starts_with(type, :prefix))
            AND (CAST(:location_id AS uuid) IS NULL OR location_ids @> ARRAY[CAST(:location_id AS uuid)])
        ORDER BY position LIMIT :rows_max
    )
    SELECT reach.*, last.*, e.* FROM (
        SELECT count(*) AS examined, CASE WHEN count(*) = 0 AND :after = 0 THEN (
            SELECT max(position) FROM events WHERE tenant_id = :tenant_id AND livemode = :livemode AND position < {SETTLED}
        ) END AS newest FROM looked_at
    ) AS reach
    LEFT JOIN (
        SELECT id AS last_id, position AS last_position FROM looked_at ORDER BY position DESC LIMIT 1
    ) last ON true
    LEFT JOIN (
        SELECT one.* FROM found CROSS JOIN LATERAL (
            SELECT id, position, location_ids, body FROM events WHERE id = found.id LIMIT 1
        ) one
    ) e ON true
    ORDER BY e.position
"""  # noqa: S608 - our own text
_ALL = text(_READ.format(examined_max=LIMIT_MAX))
_SOME = text(_READ.format(examined_max=EXAMINED_MAX))


async def read_feed(
    session: AsyncSession,
    caller: Caller,
    paging: Paging,
    *,
    event_type: str | None,
    location_id: str | None,
    created_from: datetime | None,
    retention: timedelta,
    now: datetime,
) -> Feed:
    """Events of the caller's tenant and mode after the cursor; without one from the oldest that is kept, or from `created_from`.

    `event_type` is a type, a prefix (`job.*`) or `*`. Raises `BadRequest` for a cursor that is not ours, was made under other filters, or
    is so old that events after it are gone.
    """
    filters = {"event_type": event_type, "location_id": location_id, "livemode": caller.livemode}
    begin = paging.position(filters)
    after = 0 if begin is None else int(begin[0])
    if begin is not None and datetime.fromisoformat(begin[1]) < now - retention:
        raise BadRequest(
            "events that followed this cursor are not kept any more: begin anew, without a cursor",
            code="cursor_expired",
        )
    pattern = None if event_type == EVERYTHING else event_type
    prefix = pattern[:-1] if pattern is not None and pattern.endswith(".*") else None
    is_narrow = pattern is not None or location_id is not None or created_from is not None
    first = created_from or datetime.fromtimestamp(0, UTC)
    values = {
        "tenant_id": to_uuid(caller.tenant_id),
        "livemode": caller.livemode,
        "after": after,
        "first": first_id_at(first),
        "first_of_day": first_id_of_day(first),
        "event_type": pattern if prefix is None else None,
        "prefix": prefix,
        "location_id": to_uuid(location_id) if location_id is not None else None,
        "rows_max": paging.limit,
    }
    for statement, examined_max in ((_ALL, LIMIT_MAX), (_SOME, EXAMINED_MAX)):
        rows = (await session.execute(statement, values)).all()
        found = [row for row in rows if row.id is not None]
        if not is_narrow or len(found) == paging.limit or rows[0].examined < examined_max:
            break
    reach = rows[0]
    if len(found) == paging.limit:
        reached, read_until, has_more = found[-1].position, made_at(found[-1].id), True
    elif reach.examined == examined_max:
        reached, read_until, has_more = reach.last_position, made_at(reach.last_id), True
    else:
        # What was looked at and is not wanted need not be looked at again. A cursor rests on an event: numbers of transactions that left
        # nothing are given once more after a crash.
        reached, read_until, has_more = reach.last_position or reach.newest or after, now, False
    return Feed(
        data=[_view(row, livemode=caller.livemode) for row in found],
        has_more=has_more,
        next_cursor=paging.cursor_after([reached, read_until], filters),
    )


def _view(row: Row[Any], *, livemode: bool) -> FeedEvent:
    body = json.loads(row.body)
    return FeedEvent(
        id=from_uuid("evt", row.id),
        livemode=livemode,
        location_ids=[from_uuid("loc", location_id) for location_id in row.location_ids],
        type=body["type"],
        timestamp=body["timestamp"],
        data=body["data"],
        created_at=made_at(row.id),
    )
