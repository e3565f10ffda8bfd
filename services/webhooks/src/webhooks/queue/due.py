"""Due deliveries: retries, first attempts for which there was no room, deliveries that are sent again, and those of ordered endpoints.

An endpoint that is ordered by job has a chain of rows for each job, ordered by position. Only the first row of a chain is ever due; the
others are `BLOCKED` until the row before them has gone. Every transaction that adds to a chain or removes from it locks the endpoint's job
order.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import from_uuid
from shared.postgres.advisory_locks import KeyedAdvisoryLock, lock_keys
from webhooks.endpoints import EndpointCache
from webhooks.http_client import Message
from webhooks.postgres import AutocommitConnection, Statement
from webhooks.queue.leases import BLOCKED, Event, Lease, LeasedDelivery, LeaseKey, key_arrays, new_token

FIRST_ENDPOINT = UUID(int=0)
"""Sorts before the id of every endpoint."""

_PEEK = Statement(
    """
    SELECT EXISTS (SELECT FROM delivery_due WHERE NOT retry) AS first, EXISTS (SELECT FROM delivery_due WHERE retry) AS retries
    """
)
# One index probe for each endpoint that has rows in the queue, then the earliest rows of each. So a thousand deliveries that wait for a
# hanging endpoint cost the others nothing, and all endpoints have their turn before one has its second.
_CLAIM = text(
    """
    WITH RECURSIVE queued AS (
        (SELECT endpoint_id FROM delivery_due WHERE retry = :retry AND endpoint_id > :after ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT next.endpoint_id FROM delivery_due next
            WHERE next.retry = :retry AND next.endpoint_id > queued.endpoint_id ORDER BY next.endpoint_id LIMIT 1
        ) FROM queued WHERE queued.endpoint_id IS NOT NULL
    ),
    chosen AS MATERIALIZED (
        SELECT earliest.* FROM queued
        CROSS JOIN LATERAL (
            SELECT event_id, endpoint_id FROM delivery_due
            WHERE retry = :retry AND endpoint_id = queued.endpoint_id AND due_at <= now()
            ORDER BY due_at LIMIT :each FOR UPDATE SKIP LOCKED
        ) earliest
        WHERE queued.endpoint_id IS NOT NULL AND queued.endpoint_id <> ALL(CAST(:full AS uuid[]))
        LIMIT :rows_max
    ),
    leased AS (
        UPDATE delivery_due q SET lease_token = :token, due_at = now() + make_interval(secs => :lease_seconds)
        FROM chosen WHERE q.event_id = chosen.event_id AND q.endpoint_id = chosen.endpoint_id
        RETURNING q.event_id, q.endpoint_id, q.attempts_before, q.subject
    )
    SELECT EXISTS (SELECT FROM queued WHERE endpoint_id = ANY(CAST(:full AS uuid[]))) AS skipped, found.*
    FROM (VALUES (1)) AS always LEFT JOIN (
    SELECT leased.*, d.attempts_made, p.version, p.enabled, p.deleted_at, e.tenant_id, e.livemode, e.type, e.body, e.traceparent,
        e.occurred_at
    FROM leased
    CROSS JOIN LATERAL (
        SELECT attempts_made FROM deliveries WHERE event_id = leased.event_id AND endpoint_id = leased.endpoint_id LIMIT 1
    ) d
    CROSS JOIN LATERAL (
        SELECT tenant_id, livemode, type, body, traceparent, occurred_at FROM events WHERE id = leased.event_id LIMIT 1
    ) e
    JOIN endpoints p ON p.id = leased.endpoint_id
    ) found ON true
    ORDER BY found.event_id
    """
)
# The rows `q` of deliveries that are named with the token under which they are held (`key_arrays`).
_HELD = """
    unnest(CAST(:event_ids AS uuid[]), CAST(:endpoint_ids AS uuid[]), CAST(:tokens AS bigint[])) AS held (event_id, endpoint_id, token)
    WHERE q.event_id = held.event_id AND q.endpoint_id = held.endpoint_id AND q.lease_token = held.token
"""
_RENEW = text(
    f"""
    UPDATE delivery_due q SET due_at = now() + make_interval(secs => :lease_seconds) FROM {_HELD}
    RETURNING q.event_id, q.endpoint_id, q.lease_token
    """  # noqa: S608 - fixed text
)
_RELEASE = text(f"UPDATE delivery_due q SET due_at = now(), lease_token = NULL FROM {_HELD}")  # noqa: S608 - fixed text
_ABANDON = text(
    f"""
    WITH finished AS (DELETE FROM delivery_due q USING {_HELD} RETURNING q.event_id, q.endpoint_id)
    UPDATE deliveries d SET status = 'failed', finished_at = now(), next_attempt_at = NULL, failure = :failure
    FROM finished WHERE d.event_id = finished.event_id AND d.endpoint_id = finished.endpoint_id
    """  # noqa: S608 - fixed text
)
_UNBLOCK = text(
    f"""
    UPDATE delivery_due q SET due_at = now()
    FROM (SELECT DISTINCT * FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:subjects AS text[])) AS c (endpoint_id, subject)) chain
    CROSS JOIN LATERAL (
        SELECT event_id FROM delivery_due
        WHERE endpoint_id = chain.endpoint_id AND subject = chain.subject ORDER BY position LIMIT 1
    ) first
    WHERE q.event_id = first.event_id AND q.endpoint_id = chain.endpoint_id AND q.due_at = {BLOCKED}
    """  # noqa: S608 - fixed text
)
_UNBLOCK_ALL = text(
    f"""
    UPDATE delivery_due q SET due_at = now() WHERE due_at = {BLOCKED} AND NOT EXISTS (
        SELECT FROM delivery_due b WHERE b.endpoint_id = q.endpoint_id AND b.subject = q.subject AND b.position < q.position
    )
    """  # noqa: S608 - fixed text
)
# `retry` is true: deliveries that are sent again do not take the slots of first attempts.
_ENQUEUE = text(
    f"""
    WITH wanted AS MATERIALIZED (
        SELECT e.id AS event_id, e.tenant_id, e.livemode, e.type, CASE WHEN p.ordered_by_job THEN e.subject END AS subject,
            CASE WHEN p.ordered_by_job THEN e.position END AS position
        FROM unnest(CAST(:event_ids AS uuid[])) AS one (id)
        CROSS JOIN LATERAL (SELECT * FROM events WHERE id = one.id LIMIT 1) e
        JOIN endpoints p ON p.id = :endpoint_id AND p.tenant_id = e.tenant_id AND p.livemode = e.livemode AND p.deleted_at IS NULL
    ),
    open AS MATERIALIZED (
        INSERT INTO deliveries AS d (event_id, endpoint_id, tenant_id, livemode, event_type, status, next_attempt_at)
        SELECT event_id, :endpoint_id, tenant_id, livemode, type, 'pending', now() FROM wanted ORDER BY event_id
        ON CONFLICT (event_id, endpoint_id) DO UPDATE SET status = 'pending', finished_at = NULL, failure = NULL, next_attempt_at = now()
        WHERE d.status = ANY(CAST(:again AS text[]))
        RETURNING event_id, attempts_made
    ),
    queued AS (
        INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry, attempts_before, subject, position)
        SELECT event_id, :endpoint_id,
            CASE WHEN subject IS NOT NULL AND (
                EXISTS (SELECT FROM delivery_due b WHERE b.endpoint_id = :endpoint_id AND b.subject = wanted.subject)
                OR row_number() OVER (PARTITION BY subject ORDER BY position) > 1
            ) THEN {BLOCKED} ELSE now() END,
            true, attempts_made, subject, position
        FROM open JOIN wanted USING (event_id)
        ON CONFLICT DO NOTHING
        RETURNING event_id
    )
    SELECT count(*) FROM queued
    """  # noqa: S608 - fixed text
)
_EXPEDITE = text(
    f"""
    UPDATE delivery_due SET due_at = now()
    WHERE event_id = ANY(CAST(:event_ids AS uuid[])) AND endpoint_id = :endpoint_id AND lease_token IS NULL AND due_at <> {BLOCKED}
    RETURNING event_id
    """  # noqa: S608 - fixed text
)


async def peek(autocommit: AutocommitConnection) -> tuple[bool, bool]:
    """Whether the queue holds any first attempts, and any retries, due or not."""
    ((first, retries),) = await _PEEK.rows(autocommit, {})
    return first, retries


async def claim(
    session: AsyncSession,
    endpoint_cache: EndpointCache,
    *,
    retry: bool,
    after: UUID,
    full: Collection[UUID],
    each: int,
    rows_max: int,
    lease_seconds: float,
) -> tuple[list[LeasedDelivery], UUID, bool]:
    """Lease due deliveries: at most `each` of an endpoint, and none of the `full` endpoints.

    Returns the deliveries, the endpoint to pass as `after` next time, and whether any due delivery may have been left out. Deliveries to
    disabled or deleted endpoints are given up.
    """
    held_until = time.monotonic() + lease_seconds
    token = new_token()
    values = {"retry": retry, "after": after, "full": list(full), "each": each, "rows_max": rows_max, "token": token}
    found = (await session.execute(_CLAIM, {**values, "lease_seconds": lease_seconds})).all()
    rows = [row for row in found if row.event_id is not None]
    leased = [_to_leased_delivery(row, token, held_until) for row in rows]
    deleted = [one for one, row in zip(leased, rows, strict=True) if row.deleted_at is not None]
    disabled = [one for one, row in zip(leased, rows, strict=True) if row.deleted_at is None and not row.enabled]
    await _abandon(session, deleted, "endpoint_deleted")
    await _abandon(session, disabled, "endpoint_disabled")
    await _refresh(session, endpoint_cache, [row for row in rows if row.enabled])
    # A full page ends somewhere in the order of endpoints. The next claim continues after it, so that all endpoints get a turn.
    reached = (
        max((row.endpoint_id for row in rows), default=FIRST_ENDPOINT) if len(rows) >= rows_max else FIRST_ENDPOINT
    )
    skipped = found[0].skipped or len(rows) >= rows_max
    return [one for one, row in zip(leased, rows, strict=True) if row.enabled], reached, skipped


async def renew(session: AsyncSession, held: Sequence[LeasedDelivery], lease_seconds: float) -> set[LeaseKey]:
    """Renew these leases; return the keys of those that are still held."""
    rows = await session.execute(_RENEW, {**key_arrays(held), "lease_seconds": lease_seconds})
    return {(row.event_id, row.endpoint_id, row.lease_token) for row in rows}


async def release(session: AsyncSession, held: Sequence[LeasedDelivery]) -> None:
    """End leases without an attempt: any worker may claim these deliveries at once."""
    if held:
        await session.execute(_RELEASE, key_arrays(held))


async def lock_job_order(session: AsyncSession, endpoint_ids: Iterable[UUID]) -> None:
    """Lock the chains of these endpoints until the transaction ends. Must be the first statement of the transaction."""
    await lock_keys(session, KeyedAdvisoryLock.WEBHOOKS_JOB_ORDER, endpoint_ids)


async def unblock(session: AsyncSession, chains: Collection[tuple[UUID, str]]) -> None:
    """Make the first delivery of each chain (endpoint, subject) due, after the one before it has ended. The caller holds their locks."""
    if chains:
        values = {"endpoint_ids": [endpoint_id for endpoint_id, _ in chains], "subjects": [one for _, one in chains]}
        await session.execute(_UNBLOCK, values)


async def unblock_all(session: AsyncSession) -> None:
    """Make the first delivery of every chain due, after rows were deleted from the queue."""
    await session.execute(_UNBLOCK_ALL)


async def enqueue(
    session: AsyncSession, endpoint_id: UUID, event_ids: Sequence[UUID], *, again: Collection[str] = ()
) -> int:
    """Queue these events for an endpoint, due now, with a new retry schedule. Returns how many were queued.

    An event that has no delivery to this endpoint gets one. An existing delivery is sent again only if its status is in `again` (`failed`,
    `delivered`); its earlier attempts stay in the log. Events of other tenants or of the other mode are left out. A repeated call queues
    nothing twice.
    """
    await lock_job_order(session, [endpoint_id])
    values = {"endpoint_id": endpoint_id, "event_ids": list(event_ids), "again": list(again)}
    return int((await session.execute(_ENQUEUE, values)).scalar_one())


async def resend(session: AsyncSession, event_id: UUID, endpoint_id: UUID) -> bool:
    """Send one delivery again, whatever its status; one that waits for a retry is due now. False if it is leased or blocked."""
    if await enqueue(session, endpoint_id, [event_id], again=("failed", "delivered")):
        return True
    return bool(await expedite(session, endpoint_id, [event_id]))


async def expedite(session: AsyncSession, endpoint_id: UUID, event_ids: Sequence[UUID]) -> int:
    """Make deliveries that wait for a retry due now. Returns how many; those that are leased or blocked are left as they are."""
    rows = await session.execute(_EXPEDITE, {"event_ids": list(event_ids), "endpoint_id": endpoint_id})
    return len(rows.all())


async def _abandon(
    session: AsyncSession, held: Sequence[LeasedDelivery], failure: Literal["endpoint_deleted", "endpoint_disabled"]
) -> None:
    if not held:
        return
    chains = {(one.endpoint_id, one.subject) for one in held if one.subject is not None}
    if chains:
        await lock_job_order(session, {endpoint_id for endpoint_id, _ in chains})
    await session.execute(_ABANDON, {**key_arrays(held), "failure": failure})
    await unblock(session, chains)


async def _refresh(session: AsyncSession, endpoint_cache: EndpointCache, rows: Sequence[Row[Any]]) -> None:
    """Load those of these endpoints that the cache does not have in their current version."""
    if endpoint_cache.last_change is None:
        await endpoint_cache.load(session)
    unknown = set()
    for row in rows:
        target = endpoint_cache.target(row.endpoint_id)
        if target is None or target.version < row.version:
            unknown.add(row.endpoint_id)
    if unknown:
        await endpoint_cache.load_some(session, unknown)


def _to_leased_delivery(row: Row[Any], token: int, held_until: float) -> LeasedDelivery:
    occurred_at: datetime = row.occurred_at
    message = Message(from_uuid("evt", row.event_id), row.body, row.traceparent, occurred_at)
    return LeasedDelivery(
        event=Event(row.event_id, row.tenant_id, row.livemode, row.type, message),
        endpoint_id=row.endpoint_id,
        lease=Lease(token, held_until),
        attempts_made=row.attempts_made,
        attempts_before=row.attempts_before,
        subject=row.subject,
    )
