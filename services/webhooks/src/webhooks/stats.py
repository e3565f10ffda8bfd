"""How an endpoint is doing, in figures over time, for a chart.

Deliveries are counted from their own rows, by the instant of their events. A stretch of time with very many of them is counted in part,
and says so: what one request reads is bounded.
"""

import math
from collections import Counter
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.auth.decisions import Caller
from shared.errors import Violation
from shared.ids import to_uuid
from webhooks import endpoint_rows
from webhooks.models import first_id_at
from webhooks.views.endpoints import EndpointStats, StatsBucket

BUCKET_SECONDS_MIN = 10
BUCKET_SECONDS_MAX = 24 * 3600
BUCKETS_MAX = 200
COUNTED_MAX = 500_000
"""Deliveries that one request reads, spread over its buckets."""
WAITING_COUNTED_MAX = 10_000

_BUCKETS = text(
    """
    SELECT bucket.number, c.status, c.cause, c.deliveries, c.attempts
    FROM unnest(CAST(:numbers AS int[]), CAST(:firsts AS uuid[]), CAST(:lasts AS uuid[])) AS bucket (number, first, last)
    CROSS JOIN LATERAL (
        SELECT status, cause, count(*) AS deliveries, sum(attempts_made) AS attempts
        FROM (
            SELECT status, cause, attempts_made FROM deliveries
            WHERE endpoint_id = :endpoint_id AND event_id >= bucket.first AND event_id < bucket.last
            ORDER BY event_id LIMIT :rows_max
        ) counted
        GROUP BY status, cause
    ) c
    """
)
_LATENCIES = text(
    """
    SELECT bucket.number, c.p50, c.p95
    FROM unnest(CAST(:numbers AS int[]), CAST(:firsts AS uuid[]), CAST(:lasts AS uuid[])) AS bucket (number, first, last)
    CROSS JOIN LATERAL (
        SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY latency_ms) AS p50,
            percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95
        FROM (
            SELECT latency_ms FROM deliveries
            WHERE endpoint_id = :endpoint_id AND event_id >= bucket.first AND event_id < bucket.last
            ORDER BY event_id LIMIT :rows_max
        ) counted
    ) c
    """
)
_WAITING = text(
    """
    SELECT count(*) AS waiting,
        coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0) AS oldest_seconds
    FROM (
        SELECT due_at FROM delivery_due WHERE endpoint_id = :endpoint_id AND retry IN (false, true) AND lease_token IS NULL
        ORDER BY due_at LIMIT :rows_max
    ) AS waiting_now
    """
)


async def of_endpoint(
    session: AsyncSession,
    caller: Caller,
    endpoint_id: str,
    *,
    since: datetime | None,
    until: datetime | None,
    bucket_seconds: int,
    now: datetime,
) -> EndpointStats:
    """Figures from `since` (24 buckets before `until` unless given) to `until` (now unless given), widened to whole buckets.

    Raises `NotFound`, or `Invalid` for a stretch of time that is empty or has more than `BUCKETS_MAX` buckets.
    """
    row = await endpoint_rows.find(session, caller, endpoint_id)
    end = math.ceil((until or now).timestamp() / bucket_seconds)
    begin = end - 24 if since is None else math.floor(since.timestamp() / bucket_seconds)
    if not 0 < end - begin <= BUCKETS_MAX:
        message = f"from since to until there must be 1 to {BUCKETS_MAX} buckets"
        endpoint_rows.require([Violation("", "range", message, parameter="since")], "stretch of time")
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
    for one in (await session.execute(_BUCKETS, values)).all():
        counts[one.number].update({one.status: one.deliveries, "attempts": one.attempts, "all": one.deliveries})
        if one.status != "delivered" and one.cause is not None:
            causes[one.number][one.cause] += one.deliveries
    latencies = {one.number: one for one in (await session.execute(_LATENCIES, values)).all()}
    waits = {"endpoint_id": to_uuid(row.id), "rows_max": WAITING_COUNTED_MAX}
    waiting = (await session.execute(_WAITING, waits)).one()
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
                latency_ms_p50=latencies[number].p50,
                latency_ms_p95=latencies[number].p95,
                is_partial=counted["all"] == rows_max,
            )
            for number, (start, counted) in enumerate(zip(starts, counts, strict=True))
        ],
    )
