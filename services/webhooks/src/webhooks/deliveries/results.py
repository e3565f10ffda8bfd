"""Records results of attempts in groups: one statement for each group, fenced by the tokens of the leases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from webhooks.deliveries.rules import Decision
from webhooks.http_client import Outcome
from webhooks.postgres import NO_VALUES, AutocommitConnection, Statement, array_literal, sparse_array_literal
from webhooks.queue import HELD_BATCHES, LeasedDelivery, LeaseKey, batches_left

# Arrays are passed as literals (`webhooks.postgres.array_literals`). An empty array stands for a column of nulls. `unnest` in the list of
# columns makes rows one by one; in FROM it would write them all to a temporary store first.
_RESULTS = """
    SELECT r.*, k.tenant_id, k.livemode, k.event_type FROM (
        SELECT unnest(CAST(CAST(:event_ids AS text) AS uuid[])) AS event_id,
            unnest(CAST(CAST(:endpoint_ids AS text) AS uuid[])) AS endpoint_id,
            unnest(CAST(CAST(:tokens AS text) AS bigint[])) AS token, unnest(CAST(CAST(:kinds AS text) AS int[])) AS kind,
            unnest(CAST(CAST(:started_us AS text) AS bigint[])) AS started_us,
            unnest(CAST(CAST(:latencies_ms AS text) AS int[])) AS latency_ms,
            unnest(CAST(CAST(:dns_ms AS text) AS int[])) AS dns_ms, unnest(CAST(CAST(:connect_ms AS text) AS int[])) AS connect_ms,
            unnest(CAST(CAST(:tls_ms AS text) AS int[])) AS tls_ms, unnest(CAST(CAST(:first_byte_ms AS text) AS int[])) AS first_byte_ms,
            unnest(CAST(CAST(:response_statuses AS text) AS smallint[])) AS response_status,
            unnest(CAST(CAST(:causes AS text) AS text[])) AS cause,
            unnest(CAST(CAST(:cause_details AS text) AS text[])) AS cause_detail, unnest(CAST(:bodies AS text[])) AS response_body,
            unnest(CAST(CAST(:retries_seconds AS text) AS float8[])) AS retry_seconds,
            unnest(CAST(CAST(:failures AS text) AS text[])) AS failure, unnest(CAST(CAST(:numbers AS text) AS smallint[])) AS number
        ) AS r JOIN unnest(CAST(:tenant_ids AS uuid[]), CAST(:livemodes AS boolean[]), CAST(:event_types AS text[]))
            WITH ORDINALITY AS k (tenant_id, livemode, event_type, kind) USING (kind)
"""
# The row of a delivery after its last attempt. An attempt without a number is the first.
_WRITE = """
    INSERT INTO deliveries (
        event_id, endpoint_id, tenant_id, livemode, event_type, attempts_made, started_at, latency_ms, dns_ms, connect_ms, tls_ms,
        first_byte_ms, response_status, cause, cause_detail, response_body, failure, next_attempt_at, finished_at, status
    )
    SELECT event_id, endpoint_id, tenant_id, livemode, event_type, coalesce(number, 1),
        to_timestamp(started_us / CAST(1000000 AS float8)), latency_ms, dns_ms, connect_ms, tls_ms,
        first_byte_ms, response_status, cause, cause_detail, response_body, failure,
        now() + make_interval(secs => retry_seconds), CASE WHEN retry_seconds IS NULL THEN now() END,
        CASE WHEN retry_seconds IS NOT NULL THEN 'pending' WHEN failure IS NOT NULL THEN 'failed' ELSE 'delivered' END
"""
# Results of first attempts under batch leases. Those of a lease that is not held any more are dropped.
_HELD_RESULTS = f"{_RESULTS} WHERE r.token IN (SELECT token FROM held_batches)"  # noqa: S608 - fixed text
# The usual group: all were delivered and none has a row yet. It takes two thirds of the time of the next statement.
_RECORD_DELIVERED = Statement(
    f"WITH {HELD_BATCHES}, written AS ({_WRITE} FROM ({_HELD_RESULTS}) AS result) SELECT token FROM held_batches"  # noqa: S608
)
_RECORD_FIRST = Statement(
    f"""
    WITH {HELD_BATCHES}, result AS MATERIALIZED ({_HELD_RESULTS}),
    queued AS (
        INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry)
        SELECT event_id, endpoint_id, now() + make_interval(secs => retry_seconds), true FROM result WHERE retry_seconds IS NOT NULL
        ON CONFLICT DO NOTHING
    ),
    written AS ({_WRITE} FROM result ON CONFLICT DO NOTHING)
    SELECT token FROM held_batches
    """  # noqa: S608 - fixed text
)
# Results of deliveries that were leased from the queue: the previous attempt moves from the delivery's row to the log.
_RECORD_LEASED = Statement(
    f"""
    WITH result AS MATERIALIZED (
        {_RESULTS}
    ),
    finished AS (
        DELETE FROM delivery_due q USING result r
        WHERE q.event_id = r.event_id AND q.endpoint_id = r.endpoint_id AND q.lease_token = r.token AND r.retry_seconds IS NULL
        RETURNING q.event_id, q.endpoint_id, r.token
    ),
    postponed AS (
        UPDATE delivery_due q SET due_at = now() + make_interval(secs => r.retry_seconds), lease_token = NULL, retry = true
        FROM result r
        WHERE q.event_id = r.event_id AND q.endpoint_id = r.endpoint_id AND q.lease_token = r.token AND r.retry_seconds IS NOT NULL
        RETURNING q.event_id, q.endpoint_id, r.token
    ),
    held AS MATERIALIZED (
        SELECT r.* FROM result r
        JOIN (SELECT * FROM finished UNION ALL SELECT * FROM postponed) kept USING (event_id, endpoint_id, token)
    ),
    logged AS (
        INSERT INTO attempts (
            event_id, endpoint_id, number, started_at, latency_ms, dns_ms, connect_ms, tls_ms, first_byte_ms, response_status, cause,
            cause_detail, response_body
        )
        SELECT last.* FROM held CROSS JOIN LATERAL (
            SELECT event_id, endpoint_id, attempts_made, started_at, latency_ms, dns_ms, connect_ms, tls_ms, first_byte_ms,
                response_status, cause, cause_detail, response_body
            FROM deliveries d
            WHERE d.event_id = held.event_id AND d.endpoint_id = held.endpoint_id AND d.attempts_made > 0 LIMIT 1
        ) last
        ON CONFLICT DO NOTHING
    ),
    written AS (
        {_WRITE}
        FROM held
        ON CONFLICT (event_id, endpoint_id) DO UPDATE SET
            attempts_made = excluded.attempts_made, started_at = excluded.started_at, latency_ms = excluded.latency_ms,
            dns_ms = excluded.dns_ms, connect_ms = excluded.connect_ms, tls_ms = excluded.tls_ms,
            first_byte_ms = excluded.first_byte_ms, response_status = excluded.response_status, cause = excluded.cause,
            cause_detail = excluded.cause_detail, response_body = excluded.response_body,
            failure = excluded.failure, next_attempt_at = excluded.next_attempt_at,
            finished_at = excluded.finished_at, status = excluded.status
    )
    SELECT event_id, endpoint_id, token FROM held
    """  # noqa: S608 - fixed text
)


@dataclass(slots=True)
class AttemptResult:
    """The outcome of an attempt, and the decision that follows from it."""

    leased: LeasedDelivery
    outcome: Outcome
    decision: Decision


async def record_first_attempts(
    source: AsyncSession | AutocommitConnection, results: Sequence[AttemptResult]
) -> set[int]:
    """Record first attempts under batch leases; return the tokens of the leases that were still held."""
    values = {**_columns(results), "numbers": NO_VALUES, **batches_left([result.leased for result in results])}
    all_delivered = values["causes"] == NO_VALUES
    rows = await _RECORD_DELIVERED.rows_if_new(source, values) if all_delivered else None
    if rows is None:
        rows = await _RECORD_FIRST.rows(source, values)
    return {row[0] for row in rows}


async def record_leased_attempts(session: AsyncSession, results: Sequence[AttemptResult]) -> set[LeaseKey]:
    """Record attempts of deliveries that were leased from the queue; return the keys of those whose lease was still held."""
    ordered = sorted(results, key=_pair)
    numbers = array_literal(result.leased.attempts_made + 1 for result in ordered)
    rows = await _RECORD_LEASED.rows(session, {**_columns(ordered), "numbers": numbers})
    return {(row[0], row[1], row[2]) for row in rows}


def _pair(result: AttemptResult) -> tuple[UUID, UUID]:
    return result.leased.event.id, result.leased.endpoint_id


def _columns(results: Sequence[AttemptResult]) -> Mapping[str, object]:
    leased = [result.leased for result in results]
    outcomes = [result.outcome for result in results]
    timings = [outcome.timings for outcome in outcomes]
    # A group has few different values of these three, and the type of an event would have to be quoted in a literal.
    numbers: dict[tuple[UUID, bool, str], int] = {}
    kinds = [
        numbers.setdefault((one.event.tenant_id, one.event.livemode, one.event.type), len(numbers) + 1)
        for one in leased
    ]
    return {
        "event_ids": array_literal([one.event.id for one in leased]),
        "endpoint_ids": array_literal([one.endpoint_id for one in leased]),
        "tokens": array_literal([one.lease.token for one in leased]),
        "kinds": array_literal(kinds),
        "tenant_ids": [tenant_id for tenant_id, _, _ in numbers],
        "livemodes": [livemode for _, livemode, _ in numbers],
        "event_types": [event_type for _, _, event_type in numbers],
        "started_us": array_literal([outcome.started_us for outcome in outcomes]),
        "latencies_ms": array_literal([outcome.latency_ms for outcome in outcomes]),
        "dns_ms": sparse_array_literal([one.dns_ms for one in timings]),
        "connect_ms": sparse_array_literal([one.connect_ms for one in timings]),
        "tls_ms": sparse_array_literal([one.tls_ms for one in timings]),
        "first_byte_ms": sparse_array_literal([one.first_byte_ms for one in timings]),
        "response_statuses": sparse_array_literal([outcome.response_status for outcome in outcomes]),
        "causes": sparse_array_literal([outcome.cause for outcome in outcomes]),
        "cause_details": sparse_array_literal([outcome.cause_detail for outcome in outcomes]),
        "bodies": _texts([outcome.response_body for outcome in outcomes]),
        "retries_seconds": sparse_array_literal([result.decision.retry_seconds for result in results]),
        "failures": sparse_array_literal([result.decision.failure for result in results]),
    }


def _texts(values: Sequence[str | None]) -> Sequence[str | None]:
    """Texts from receivers are encoded by the driver, never by us; an empty list if all are None."""
    return values if any(value is not None for value in values) else []
