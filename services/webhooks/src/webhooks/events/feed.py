"""The feed: all events in the order of their publication, for receivers that want to catch up.

It shows only events below the oldest open transaction, so no event ever appears before one that was shown already. A cursor is valid for as
long as events are kept; an older one is refused. So a reader that gets no error has missed nothing.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access.principals import Caller
from shared.api import Paging
from shared.api.cursors import LIMIT_MAX
from shared.errors import BadRequest
from shared.ids import first_id_at, from_uuid, to_uuid
from webhooks.endpoints import EVERYTHING
from webhooks.events.fan_out import SETTLED
from webhooks.events.schemas import Feed, FeedEvent
from webhooks.postgres import first_id_of_day, made_at

EXAMINED_MAX = 5_000
"""Events that one request with filters examines."""

# The day of `created_from` leaves out the partitions of earlier days. The instant itself is a condition on each examined event: as a
# condition of `looked_at` it would have no index, and a whole day might be read. Bodies are read only for events that are shown. The limit
# of `looked_at` is part of the text: with a parameter PostgreSQL would keep a generic plan that reads and sorts everything.
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
_NEWEST = text(
    f"SELECT max(position) FROM events WHERE tenant_id = :tenant_id AND livemode = :livemode AND position < {SETTLED}"  # noqa: S608
)
_ALL = text(_READ.format(examined_max=LIMIT_MAX))
_SOME = text(_READ.format(examined_max=EXAMINED_MAX))


@dataclass(frozen=True, slots=True)
class FeedFilters:
    """Which events are wanted; None: all."""

    event_type: str | None = None
    """A type, a prefix (`job.*`) or `*`."""
    location_id: str | None = None
    created_from: datetime | None = None

    def of_cursor(self, caller: Caller) -> dict[str, object]:
        """What a cursor belongs to."""
        return {"event_type": self.event_type, "location_id": self.location_id, "livemode": caller.livemode}


async def read_feed(
    session: AsyncSession,
    caller: Caller,
    paging: Paging,
    asked: FeedFilters,
    *,
    retention: timedelta,
    now: datetime,
) -> Feed:
    """Events of the caller's tenant and mode after the cursor; without a cursor from `created_from` or the oldest event.

    Raises `BadRequest` for a cursor that is malformed, belongs to other filters, or is
    so old that events after it were deleted.
    """
    event_type, location_id, created_from = asked.event_type, asked.location_id, asked.created_from
    filters = asked.of_cursor(caller)
    begin = paging.position(filters)
    after = 0 if begin is None else int(begin[0])
    if begin is not None and datetime.fromisoformat(begin[1]) < now - retention:
        raise BadRequest(
            "events after this cursor were deleted: start again without a cursor",
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
        # Examined events that did not match are not examined again. A cursor has the position of an event, never a bare transaction number:
        # after a crash PostgreSQL reuses the numbers of transactions that stored nothing.
        reached, read_until, has_more = reach.last_position or reach.newest or after, now, False
    return Feed(
        data=[_view(row, livemode=caller.livemode) for row in found],
        has_more=has_more,
        next_cursor=paging.cursor_after([reached, read_until], filters),
    )


async def end_cursor(session: AsyncSession, caller: Caller, paging: Paging, filters: FeedFilters, now: datetime) -> str:
    """The cursor after the newest event: what continues there has only events of the future."""
    values = {"tenant_id": to_uuid(caller.tenant_id), "livemode": caller.livemode}
    newest = (await session.execute(_NEWEST, values)).scalar_one()
    return paging.cursor_after([newest or 0, now], filters.of_cursor(caller))


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
