"""Batch leases: first attempts of one batch that a worker holds in memory, with one row of `flights` for all of them.

A batch lease ends when the last of its deliveries is recorded. Slow attempts, and deliveries that this worker cannot attempt, move to the
queue. The first worker that finds an expired batch lease releases it: its unrecorded deliveries are due at once.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from webhooks.queue.leases import LeasedDelivery

RELEASED_MAX = 20

HELD_BATCHES = """
    continuing AS MATERIALIZED (SELECT token FROM flights WHERE token = ANY(CAST(:continuing AS bigint[])) FOR KEY SHARE),
    completed AS (DELETE FROM flights WHERE token = ANY(CAST(:completed AS bigint[])) RETURNING token),
    held_batches AS MATERIALIZED (SELECT token FROM continuing UNION ALL SELECT token FROM completed)
"""
"""SQL: `held_batches` has the tokens of the batch leases in `batches_left` that this process still holds. A lease that was released
meanwhile is not among them; one that is, is not released before this transaction ends."""

_RENEW = text(
    """
    UPDATE flights SET lease_until = now() + make_interval(secs => :lease_seconds) WHERE token = ANY(CAST(:tokens AS bigint[]))
    RETURNING token
    """
)
# With a token the delivery stays leased to this worker, by itself; without one any worker may claim it.
_MOVE_TO_QUEUE = text(
    f"""
    WITH {HELD_BATCHES},
    leaving AS MATERIALIZED (
        SELECT l.* FROM unnest(
            CAST(:event_ids AS uuid[]), CAST(:endpoint_ids AS uuid[]), CAST(:tokens AS bigint[]), CAST(:tenant_ids AS uuid[]),
            CAST(:livemodes AS boolean[]), CAST(:event_types AS text[])
        ) AS l (event_id, endpoint_id, token, tenant_id, livemode, event_type)
        WHERE l.token IN (SELECT token FROM held_batches)
    ),
    shown AS (
        INSERT INTO deliveries (event_id, endpoint_id, tenant_id, livemode, event_type, status)
        SELECT event_id, endpoint_id, tenant_id, livemode, event_type, 'pending' FROM leaving
        ON CONFLICT DO NOTHING
    )
    INSERT INTO delivery_due (event_id, endpoint_id, due_at, lease_token, retry)
    SELECT event_id, endpoint_id, now() + make_interval(secs => :lease_seconds), CAST(:token AS bigint), false FROM leaving
    ON CONFLICT DO NOTHING
    RETURNING event_id, endpoint_id
    """  # noqa: S608 - fixed text
)
# A batch lease whose results are being recorded is locked and skipped: its worker is alive.
_EXPIRED = text(
    """
    SELECT token FROM flights WHERE lease_until < now() AND token <> ALL(CAST(:mine AS bigint[]))
    ORDER BY lease_until LIMIT :batches_max FOR UPDATE SKIP LOCKED
    """
)
# A separate statement, because its snapshot includes what was recorded before the rows were locked.
_RELEASE = text(
    """
    WITH released AS (DELETE FROM flights WHERE token = ANY(CAST(:tokens AS bigint[])) RETURNING event_ids, endpoint_ids),
    pair AS MATERIALIZED (SELECT p.* FROM released, unnest(event_ids, endpoint_ids) AS p (event_id, endpoint_id)),
    unfinished AS MATERIALIZED (
        SELECT pair.* FROM pair WHERE NOT EXISTS (
            SELECT FROM deliveries d
            WHERE d.event_id = pair.event_id AND d.endpoint_id = pair.endpoint_id AND d.status <> 'pending'
        )
    ),
    shown AS (
        INSERT INTO deliveries (event_id, endpoint_id, tenant_id, livemode, event_type, status)
        SELECT u.event_id, u.endpoint_id, e.tenant_id, e.livemode, e.type, 'pending'
        FROM unfinished u CROSS JOIN LATERAL (
            SELECT tenant_id, livemode, type FROM events WHERE id = u.event_id LIMIT 1
        ) e
        ON CONFLICT DO NOTHING
    )
    INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry)
    SELECT event_id, endpoint_id, now(), false FROM unfinished ORDER BY event_id, endpoint_id
    ON CONFLICT DO NOTHING
    """
)


def batches_left(leaving: Collection[LeasedDelivery]) -> dict[str, list[int]]:
    """Parameters of `HELD_BATCHES`: the batch leases that these deliveries leave, `completed` by them or `continuing` with others."""
    counted = Counter(one.lease.token for one in leaving)
    completed = {one.lease.token for one in leaving if one.lease.unrecorded <= counted[one.lease.token]}
    return {"continuing": sorted(counted.keys() - completed), "completed": sorted(completed)}


async def renew_batches(session: AsyncSession, tokens: Collection[int], lease_seconds: float) -> set[int]:
    """Renew these leases; return the tokens of those that are still held."""
    rows = await session.execute(_RENEW, {"tokens": sorted(tokens), "lease_seconds": lease_seconds})
    return set(rows.scalars())


async def move_to_queue(
    session: AsyncSession, leaving: Sequence[LeasedDelivery], *, token: int | None, lease_seconds: float
) -> set[tuple[UUID, UUID]]:
    """Move deliveries from their batch leases to the queue: leased under `token`, or due at once if it is None.

    Returns event and endpoint of those whose batch lease was still held.
    """
    values = {
        "event_ids": [one.event.id for one in leaving],
        "endpoint_ids": [one.endpoint_id for one in leaving],
        "tokens": [one.lease.token for one in leaving],
        "tenant_ids": [one.event.tenant_id for one in leaving],
        "livemodes": [one.event.livemode for one in leaving],
        "event_types": [one.event.type for one in leaving],
        **batches_left(leaving),
        "token": token,
        "lease_seconds": lease_seconds if token is not None else 0.0,
    }
    rows = await session.execute(_MOVE_TO_QUEUE, values)
    return {(row.event_id, row.endpoint_id) for row in rows}


async def release_expired_batches(session: AsyncSession, *, mine: Collection[int]) -> int:
    """Release at most `RELEASED_MAX` expired batch leases, except `mine`, those of this process. Returns how many."""
    values = {"mine": sorted(mine), "batches_max": RELEASED_MAX}
    tokens = list((await session.execute(_EXPIRED, values)).scalars())
    if tokens:
        await session.execute(_RELEASE, {"tokens": tokens})
    return len(tokens)
