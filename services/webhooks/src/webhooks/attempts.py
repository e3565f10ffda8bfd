"""The queue of deliveries: claim with a lease, attempt elsewhere, record fenced by the lease's token.

Invariant: whatever is not finished has a row in `delivery_due`. A lease is that row with a token and the instant at which it ends as
`due_at`; when its holder goes silent the row is simply due again, and a late record of the old holder changes nothing.
Instants come from the database's clock, which all workers share.
"""

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import from_uuid
from webhooks import endpoints
from webhooks.domain.retries import Decision, Failure, Outcome
from webhooks.targets import Target, Targets

FIRST_ENDPOINT = UUID(int=0)

# One index probe per endpoint that has something in the queue, then the earliest of each: a thousand deliveries that wait for a hanging
# endpoint cost the others nothing, and nobody is served before everybody had a turn.
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
        SELECT earliest.delivery_id FROM queued
        CROSS JOIN LATERAL (
            SELECT delivery_id FROM delivery_due
            WHERE retry = :retry AND endpoint_id = queued.endpoint_id AND due_at <= now()
            ORDER BY due_at LIMIT :each FOR UPDATE SKIP LOCKED
        ) earliest
        WHERE queued.endpoint_id IS NOT NULL AND queued.endpoint_id <> ALL(CAST(:full AS uuid[]))
        LIMIT :rows_max
    ),
    leased AS (
        UPDATE delivery_due SET lease_token = :token, due_at = now() + make_interval(secs => :lease_seconds)
        FROM chosen WHERE delivery_due.delivery_id = chosen.delivery_id
        RETURNING delivery_due.delivery_id
    )
    SELECT d.id, d.attempts_made, d.endpoint_id, d.event_id, p.version, p.enabled, p.deleted_at,
        e.body, e.traceparent, e.occurred_at
    FROM leased JOIN deliveries d ON d.id = leased.delivery_id
    JOIN events e ON e.id = d.event_id JOIN endpoints p ON p.id = d.endpoint_id
    ORDER BY d.id
    """
)
_RENEW = text(
    """
    UPDATE delivery_due SET due_at = now() + make_interval(secs => :lease_seconds)
    FROM unnest(CAST(:delivery_ids AS uuid[]), CAST(:tokens AS bigint[])) AS held (delivery_id, token)
    WHERE delivery_due.delivery_id = held.delivery_id AND delivery_due.lease_token = held.token
    RETURNING delivery_due.delivery_id
    """
)
_RELEASE = text(
    """
    UPDATE delivery_due SET due_at = now(), lease_token = NULL
    FROM unnest(CAST(:delivery_ids AS uuid[]), CAST(:tokens AS bigint[])) AS held (delivery_id, token)
    WHERE delivery_due.delivery_id = held.delivery_id AND delivery_due.lease_token = held.token
    """
)
_ABANDON = text(
    """
    WITH finished AS (
        DELETE FROM delivery_due
        USING unnest(CAST(:delivery_ids AS uuid[]), CAST(:tokens AS bigint[])) AS held (delivery_id, token)
        WHERE delivery_due.delivery_id = held.delivery_id AND delivery_due.lease_token = held.token
        RETURNING delivery_due.delivery_id
    )
    UPDATE deliveries SET failed_at = now(), updated_at = now(), next_attempt_at = NULL, failure = :failure
    FROM finished WHERE deliveries.id = finished.delivery_id
    """
)
_RECORD = text(
    """
    WITH result AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:delivery_ids AS uuid[]), CAST(:tokens AS bigint[]), CAST(:numbers AS smallint[]),
            CAST(:started_ats AS timestamptz[]), CAST(:latencies_ms AS int[]), CAST(:statuses AS smallint[]),
            CAST(:causes AS text[]), CAST(:bodies AS text[]), CAST(:retries_seconds AS float8[]), CAST(:failures AS text[])
        ) AS r (delivery_id, token, number, started_at, latency_ms, status, cause, body, retry_seconds, failure)
    ),
    finished AS (
        DELETE FROM delivery_due USING result r
        WHERE delivery_due.delivery_id = r.delivery_id AND delivery_due.lease_token = r.token AND r.retry_seconds IS NULL
        RETURNING delivery_due.delivery_id
    ),
    postponed AS (
        UPDATE delivery_due SET due_at = now() + make_interval(secs => r.retry_seconds), lease_token = NULL, retry = true
        FROM result r
        WHERE delivery_due.delivery_id = r.delivery_id AND delivery_due.lease_token = r.token AND r.retry_seconds IS NOT NULL
        RETURNING delivery_due.delivery_id
    ),
    held AS MATERIALIZED (
        SELECT r.* FROM result r
        JOIN (SELECT delivery_id FROM finished UNION ALL SELECT delivery_id FROM postponed) kept USING (delivery_id)
    ),
    logged AS (
        INSERT INTO attempts (delivery_id, number, started_at, latency_ms, response_status, cause, response_body)
        SELECT delivery_id, number, started_at, latency_ms, status, cause, body FROM held
        ON CONFLICT DO NOTHING
    )
    UPDATE deliveries SET
        attempts_made = held.number, response_status = held.status, cause = held.cause, updated_at = now(),
        next_attempt_at = now() + make_interval(secs => held.retry_seconds),
        delivered_at = CASE WHEN held.cause IS NULL THEN now() END,
        failed_at = CASE WHEN held.failure IS NOT NULL THEN now() END,
        failure = held.failure
    FROM held WHERE deliveries.id = held.delivery_id
    RETURNING deliveries.id, deliveries.endpoint_id
    """
)


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it is sent. `webhook_id` and `body` are the same with every attempt."""

    webhook_id: str
    body: bytes
    traceparent: str | None
    occurred_at: datetime


@dataclass(slots=True)
class Leased:
    """A delivery that this process may attempt until `held_until` (on the monotonic clock); renewed while it is held."""

    delivery_id: UUID
    target: Target
    message: Message
    attempts_made: int
    token: int
    held_until: float


@dataclass(frozen=True, slots=True)
class Result:
    """An attempt that was made, and what follows from it."""

    leased: Leased
    outcome: Outcome
    decision: Decision


def new_token() -> int:
    """A token for the leases of one batch; no other batch ever has it."""
    return secrets.randbits(62) + 1


async def claim(
    session: AsyncSession,
    targets: Targets,
    *,
    retry: bool,
    after: UUID,
    full: Collection[UUID],
    each: int,
    rows_max: int,
    lease_seconds: float,
) -> tuple[list[Leased], UUID]:
    """What is due, at most `each` of an endpoint, none of the `full` ones; and the endpoint after which to look next.

    Deliveries whose endpoint is disabled or deleted are given up on the way.
    """
    held_until = time.monotonic() + lease_seconds
    token = new_token()
    values = {"retry": retry, "after": after, "full": list(full), "each": each, "rows_max": rows_max, "token": token}
    rows = (await session.execute(_CLAIM, {**values, "lease_seconds": lease_seconds})).all()
    deleted = [row.id for row in rows if row.deleted_at is not None]
    disabled = [row.id for row in rows if row.deleted_at is None and not row.enabled]
    await _abandon(session, deleted, token, "endpoint_deleted")
    await _abandon(session, disabled, token, "endpoint_disabled")
    alive = [row for row in rows if row.enabled]
    found = await targets.of(session, {row.endpoint_id: row.version for row in alive})
    leased = [_leased(row, found[row.endpoint_id], token, held_until) for row in alive if row.endpoint_id in found]
    # A full page ends somewhere in the order of endpoints: the next look begins behind it, so that all get a turn.
    return leased, max((row.endpoint_id for row in rows), default=FIRST_ENDPOINT) if len(
        rows
    ) >= rows_max else FIRST_ENDPOINT


async def renew(session: AsyncSession, held: Sequence[Leased], lease_seconds: float) -> set[UUID]:
    """Make these leases last anew; those deliveries whose lease is still ours."""
    rows = await session.execute(_RENEW, {**_held(held), "lease_seconds": lease_seconds})
    return set(rows.scalars())


async def release(session: AsyncSession, held: Sequence[Leased]) -> None:
    """Give up leases without an attempt: due at once, for anybody."""
    if held:
        await session.execute(_RELEASE, _held(held))


async def record(session: AsyncSession, results: Sequence[Result], now: datetime) -> int:
    """Write down what was attempted; how many of the results still held their lease. A 410 disables its endpoint."""
    ordered = sorted(results, key=lambda result: result.leased.delivery_id)
    rows = (await session.execute(_RECORD, _columns(ordered))).all()
    endpoint_of = {row.id: row.endpoint_id for row in rows}
    gone = {
        endpoint_of[result.leased.delivery_id]
        for result in ordered
        if result.decision.disables_endpoint and result.leased.delivery_id in endpoint_of
    }
    if gone:
        await endpoints.disable_gone(session, [from_uuid("ep", endpoint_id) for endpoint_id in gone], now)
    return len(rows)


def _columns(results: Sequence[Result]) -> Mapping[str, object]:
    return {
        "delivery_ids": [result.leased.delivery_id for result in results],
        "tokens": [result.leased.token for result in results],
        "numbers": [result.leased.attempts_made + 1 for result in results],
        "started_ats": [result.outcome.started_at for result in results],
        "latencies_ms": [result.outcome.latency_ms for result in results],
        "statuses": [result.outcome.response_status for result in results],
        "causes": [result.outcome.cause for result in results],
        "bodies": [result.outcome.response_body for result in results],
        "retries_seconds": [result.decision.retry_seconds for result in results],
        "failures": [result.decision.failure for result in results],
    }


def _held(held: Sequence[Leased]) -> dict[str, object]:
    ordered = sorted(held, key=lambda leased: leased.delivery_id)
    return {
        "delivery_ids": [leased.delivery_id for leased in ordered],
        "tokens": [leased.token for leased in ordered],
    }


async def _abandon(session: AsyncSession, delivery_ids: Sequence[UUID], token: int, failure: Failure) -> None:
    if delivery_ids:
        values = {"delivery_ids": delivery_ids, "tokens": [token] * len(delivery_ids), "failure": failure}
        await session.execute(_ABANDON, values)


def _leased(row: Row[tuple[object, ...]], target: Target, token: int, held_until: float) -> Leased:
    message = Message(from_uuid("evt", row.event_id), row.body, row.traceparent, row.occurred_at)
    return Leased(row.id, target, message, row.attempts_made, token, held_until)
