"""Statistics of an endpoint over time.

Deliveries are counted from their rows, by the instant of their events. What one request reads is bounded: a bucket with more deliveries is
counted in part and marked `is_partial`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access.principals import Caller
from shared.errors import Violation
from shared.ids import first_id_at, to_uuid
from webhooks.endpoints import queries, rules
from webhooks.endpoints.schemas import EndpointStats, StatsBucket

BUCKET_SECONDS_MIN = 10
BUCKET_SECONDS_MAX = 24 * 3600
BUCKETS_MAX = 200
COUNTED_MAX = 200_000
"""Deliveries that one request reads, divided among its buckets."""
WAITING_COUNTED_MAX = 10_000

# Without ORDER BY: with it, all rows of a bucket would be read and sorted before the limit applies.
_BUCKETS = text(
    """
    SELECT bucket.number, c.*
    FROM unnest(CAST(:numbers AS int[]), CAST(:firsts AS uuid[]), CAST(:lasts AS uuid[])) AS bucket (number, first, last)
    CROSS JOIN LATERAL (
        SELECT grouping(status) = 1 AS is_total, status, cause, count(*) AS deliveries, sum(attempts_made) AS attempts,
            percentile_disc(CAST('{0.5, 0.95}' AS float8[])) WITHIN GROUP (ORDER BY latency_ms) AS latencies_ms
        FROM (
            SELECT status, cause, attempts_made, latency_ms FROM deliveries
            WHERE endpoint_id = :endpoint_id AND event_id >= bucket.first AND event_id < bucket.last LIMIT :rows_max
        ) counted
        GROUP BY GROUPING SETS ((status, cause), ())
    ) c
    """
)


def waiting_statement(counted_max: int) -> TextClause:
    """How many deliveries of each endpoint wait, counted up to `counted_max`, and since when the oldest is due.

    Each half is read in the order of its index. The limits are part of the text: with a parameter PostgreSQL would keep a generic plan that
    sorts all.
    """
    return text(
        f"""
        SELECT asked.id AS endpoint_id, counted.* FROM unnest(CAST(:endpoint_ids AS uuid[])) AS asked (id) CROSS JOIN LATERAL (
            SELECT count(*) AS waiting,
                coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0) AS oldest_seconds
            FROM (
                SELECT * FROM (
                    (SELECT due_at FROM delivery_due WHERE NOT retry AND endpoint_id = asked.id AND lease_token IS NULL
                        ORDER BY due_at LIMIT {counted_max})
                    UNION ALL
                    (SELECT due_at FROM delivery_due WHERE retry AND endpoint_id = asked.id AND lease_token IS NULL
                        ORDER BY due_at LIMIT {counted_max})
                ) AS both_halves
                ORDER BY due_at LIMIT {counted_max}
            ) AS waiting_now
        ) AS counted
        """  # noqa: S608 - our own number
    )


_WAITING = waiting_statement(WAITING_COUNTED_MAX)


async def get_stats(
    session: AsyncSession,
    caller: Caller,
    endpoint_id: str,
    *,
    since: datetime | None,
    until: datetime | None,
    bucket_seconds: int,
    now: datetime,
) -> EndpointStats:
    """Statistics from `since` (default: 24 buckets before `until`) to `until` (default: now), widened to whole buckets.

    Raises `NotFound`, or `Invalid` for a time range that is empty or has more than `BUCKETS_MAX` buckets.
    """
    row = await queries.get_row(session, caller, endpoint_id)
    end = math.ceil((until or now).timestamp() / bucket_seconds)
    begin = end - 24 if since is None else math.floor(since.timestamp() / bucket_seconds)
    if not 0 < end - begin <= BUCKETS_MAX:
        message = f"from since to until there must be 1 to {BUCKETS_MAX} buckets"
        rules.require_valid([Violation("", "range", message, parameter="since")], "time range")
    starts = [datetime.fromtimestamp(number * bucket_seconds, now.tzinfo) for number in range(begin, end)]
    width = timedelta(seconds=bucket_seconds)
    rows_max = COUNTED_MAX // len(starts)
    values = {
        "numbers": list(range(len(starts))),
        "firsts": [first_id_at(start) for start in starts],
        "lasts": [first_id_at(start + width) for start in starts],
        "endpoint_id": to_uuid(row.id),
        "rows_max": rows_max,
    }
    counts = [Counter[str]() for _ in starts]
    causes = [Counter[str]() for _ in starts]
    latencies: dict[int, Sequence[int | None]] = {}
    for one in (await session.execute(_BUCKETS, values)).all():
        if one.is_total:
            counts[one.number].update({"attempts": one.attempts or 0, "all": one.deliveries})
            latencies[one.number] = one.latencies_ms or (None, None)
            continue
        counts[one.number][one.status] += one.deliveries
        if one.status != "delivered" and one.cause is not None:
            causes[one.number][one.cause] += one.deliveries
    waiting = (await session.execute(_WAITING, {"endpoint_ids": [to_uuid(row.id)]})).one()
    return EndpointStats(
        endpoint_id=row.id,
        since=starts[0],
        until=starts[-1] + width,
        bucket_seconds=bucket_seconds,
        waiting=waiting.waiting,
        oldest_due_seconds=max(0.0, float(waiting.oldest_seconds)),
        failing_since=row.failing_since,
        buckets=[
            StatsBucket(
                starts_at=start,
                deliveries=counted["all"],
                delivered=counted["delivered"],
                failed=counted["failed"],
                pending=counted["pending"],
                attempts=counted["attempts"],
                causes=dict(causes[number]),
                latency_ms_p50=latencies[number][0],
                latency_ms_p95=latencies[number][1],
                is_partial=counted["all"] == rows_max,
            )
            for number, (start, counted) in enumerate(zip(starts, counts, strict=True))
        ],
    )
