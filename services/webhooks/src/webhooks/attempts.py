"""What a worker holds, and how results are recorded: in groups, one statement each, fenced by the token of whoever holds the delivery.

Invariant: whatever is not finished is in a flight or in `delivery_due`. A lease is a flight's row, or a row of the queue, with a token and
the instant at which it ends; when its holder goes silent the deliveries are due again, and a late record of the old holder changes nothing.
Instants come from the database's clock, which all workers share.
"""

import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from webhooks.domain.retries import Decision, Outcome
from webhooks.wire import Statement, Wire

NO_VALUES = "{}"

# Arrays come as literals: the driver's own encoding of arrays looks at each element several times, and costs more than all the rest of an
# attempt's record. Where all of a column is null, its array is empty, and `unnest` fills up with nulls; in the list of columns it makes
# rows as they are asked for, and writes none aside.
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
            unnest(CAST(CAST(:causes AS text) AS text[])) AS cause, unnest(CAST(:bodies AS text[])) AS response_body,
            unnest(CAST(CAST(:retries_seconds AS text) AS float8[])) AS retry_seconds,
            unnest(CAST(CAST(:failures AS text) AS text[])) AS failure, unnest(CAST(CAST(:numbers AS text) AS smallint[])) AS number
        ) AS r JOIN unnest(CAST(:tenant_ids AS uuid[]), CAST(:livemodes AS boolean[]), CAST(:event_types AS text[]))
            WITH ORDINALITY AS k (tenant_id, livemode, event_type, kind) USING (kind)
"""
# A delivery's row as its last attempt left it; without a number it was the first.
_WRITE = """
    INSERT INTO deliveries (
        event_id, endpoint_id, tenant_id, livemode, event_type, attempts_made, started_at, latency_ms, dns_ms, connect_ms, tls_ms,
        first_byte_ms, response_status, cause, response_body, failure, next_attempt_at, finished_at, status
    )
    SELECT event_id, endpoint_id, tenant_id, livemode, event_type, coalesce(number, 1),
        to_timestamp(started_us / CAST(1000000 AS float8)), latency_ms, dns_ms, connect_ms, tls_ms,
        first_byte_ms, response_status, cause, response_body, failure,
        now() + make_interval(secs => retry_seconds), CASE WHEN retry_seconds IS NULL THEN now() END,
        CASE WHEN retry_seconds IS NOT NULL THEN 'pending' WHEN failure IS NOT NULL THEN 'failed' ELSE 'delivered' END
"""
# Results of first attempts out of flights: the delivery's row is written once, with them. `going` flights have more to come, of `landing`
# ones this is the last. A flight that was taken from us is in neither, and its results are dropped.
_OURS = """
    going AS MATERIALIZED (SELECT token FROM flights WHERE token = ANY(CAST(:going AS bigint[])) FOR KEY SHARE),
    landed AS (DELETE FROM flights WHERE token = ANY(CAST(:landing AS bigint[])) RETURNING token),
    ours AS MATERIALIZED (SELECT token FROM going UNION ALL SELECT token FROM landed)
"""
_OF_OURS = f"{_RESULTS} WHERE r.token IN (SELECT token FROM ours)"  # noqa: S608 - fixed text
# Where all were delivered, and none has a row yet: the usual group, for two thirds of what the next statement takes.
_RECORD_DELIVERED = Statement(
    f"WITH {_OURS}, written AS ({_WRITE} FROM ({_OF_OURS}) AS result) SELECT token FROM ours"  # noqa: S608 - fixed text
)
_RECORD_FIRST = Statement(
    f"""
    WITH {_OURS}, result AS MATERIALIZED ({_OF_OURS}),
    queued AS (
        INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry)
        SELECT event_id, endpoint_id, now() + make_interval(secs => retry_seconds), true FROM result WHERE retry_seconds IS NOT NULL
        ON CONFLICT DO NOTHING
    ),
    written AS ({_WRITE} FROM result ON CONFLICT DO NOTHING)
    SELECT token FROM ours
    """  # noqa: S608 - fixed text
)
# Results of what was leased out of the queue: the row's last attempt moves to the log, and this one takes its place.
_RECORD_LEASED = Statement(
    f"""
    WITH result AS MATERIALIZED (
        {_RESULTS}
    ),
    finished AS (
        DELETE FROM delivery_due q USING result r
        WHERE q.event_id = r.event_id AND q.endpoint_id = r.endpoint_id AND q.lease_token = r.token AND r.retry_seconds IS NULL
        RETURNING q.event_id, q.endpoint_id
    ),
    postponed AS (
        UPDATE delivery_due q SET due_at = now() + make_interval(secs => r.retry_seconds), lease_token = NULL, retry = true
        FROM result r
        WHERE q.event_id = r.event_id AND q.endpoint_id = r.endpoint_id AND q.lease_token = r.token AND r.retry_seconds IS NOT NULL
        RETURNING q.event_id, q.endpoint_id
    ),
    held AS MATERIALIZED (
        SELECT r.* FROM result r
        JOIN (SELECT * FROM finished UNION ALL SELECT * FROM postponed) kept USING (event_id, endpoint_id)
    ),
    logged AS (
        INSERT INTO attempts (
            event_id, endpoint_id, number, started_at, latency_ms, dns_ms, connect_ms, tls_ms, first_byte_ms, response_status, cause,
            response_body
        )
        SELECT last.* FROM held CROSS JOIN LATERAL (
            SELECT event_id, endpoint_id, attempts_made, started_at, latency_ms, dns_ms, connect_ms, tls_ms, first_byte_ms,
                response_status, cause, response_body
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
            response_body = excluded.response_body, failure = excluded.failure, next_attempt_at = excluded.next_attempt_at,
            finished_at = excluded.finished_at, status = excluded.status
    )
    SELECT event_id, endpoint_id FROM held
    """  # noqa: S608 - fixed text
)


# Made for each event or attempt: a frozen one takes three times as long to make.
@dataclass(slots=True)
class Message:
    """An event as it is sent. `webhook_id` and `body` are the same with every attempt."""

    webhook_id: str
    body: bytes
    traceparent: str | None
    occurred_at: datetime


@dataclass(slots=True)
class Event:
    """What deliveries of one event have in common."""

    id: UUID
    tenant_id: UUID
    livemode: bool
    type: str
    message: Message


@dataclass(slots=True, eq=False)
class Lease:
    """Who may attempt something, and until when (`held_until` is on the monotonic clock); renewed while it is held."""

    token: int
    held_until: float
    left: int = 1
    """Deliveries that are not recorded yet."""
    is_flight: bool = False


@dataclass(slots=True, eq=False)
class Leased:
    """A delivery that this process may attempt while its lease holds."""

    event: Event
    endpoint_id: UUID
    lease: Lease
    attempts_made: int = 0
    attempts_before: int = 0
    """Attempts of earlier rounds."""
    subject: str | None = None
    """Of an endpoint that is ordered by job: the next of this subject waits for this one."""
    since: float = 0.0
    """When it was accepted, and then when its attempt began (on the monotonic clock)."""
    ended: bool = False
    """It has an outcome."""


@dataclass(slots=True)
class Result:
    """An attempt that was made, and what follows from it."""

    leased: Leased
    outcome: Outcome
    decision: Decision


def new_token() -> int:
    """A token for the leases of one batch; no other batch ever has it."""
    return secrets.randbits(62) + 1


async def record_first(source: AsyncSession | Wire, results: Sequence[Result]) -> set[int]:
    """Write down first attempts out of flights; the tokens of those flights that were still ours."""
    counted = Counter(result.leased.lease.token for result in results)
    leases = {result.leased.lease.token: result.leased.lease for result in results}
    landing = [token for token, count in counted.items() if leases[token].left <= count]
    going = sorted(counted.keys() - set(landing))
    values = {**_columns(results), "numbers": NO_VALUES, "going": going, "landing": sorted(landing)}
    all_delivered = values["causes"] == NO_VALUES
    rows = await _RECORD_DELIVERED.rows_if_new(source, values) if all_delivered else None
    if rows is None:
        rows = await _RECORD_FIRST.rows(source, values)
    return {row[0] for row in rows}


async def record_leased(session: AsyncSession, results: Sequence[Result]) -> set[tuple[UUID, UUID]]:
    """Write down attempts of what was leased out of the queue; the pairs of event and endpoint that were still ours."""
    ordered = sorted(results, key=_pair)
    numbers = array(result.leased.attempts_made + 1 for result in ordered)
    rows = await _RECORD_LEASED.rows(session, {**_columns(ordered), "numbers": numbers})
    return {(row[0], row[1]) for row in rows}


def array(values: Iterable[object]) -> str:
    """An array literal of values that need no quotes (numbers, ids, our own words)."""
    return "{" + ",".join(map(str, values)) + "}"


def pairs(held: Collection[Leased]) -> dict[str, list[object]]:
    """Arrays that name these deliveries, in the order of their keys, with their tokens."""
    ordered = sorted(held, key=lambda leased: (leased.event.id, leased.endpoint_id))
    return {
        "event_ids": [leased.event.id for leased in ordered],
        "endpoint_ids": [leased.endpoint_id for leased in ordered],
        "tokens": [leased.lease.token for leased in ordered],
    }


def _pair(result: Result) -> tuple[UUID, UUID]:
    return result.leased.event.id, result.leased.endpoint_id


def quoted(values: Sequence[str | None]) -> str:
    """An array literal of any texts."""
    if None not in values:
        joined = '","'.join(cast(Sequence[str], values))
        if "\\" not in joined and joined.count('"') == 2 * (len(values) - 1):
            return f'{{"{joined}"}}'
    return array(
        "null" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values
    )


def _sparse(values: Sequence[object]) -> str:
    """The same for values of which some, or all, are missing."""
    missing = values.count(None)
    if missing == len(values):
        return NO_VALUES
    return array("null" if value is None else value for value in values) if missing else array(values)


def _columns(results: Sequence[Result]) -> Mapping[str, object]:
    leased = [result.leased for result in results]
    outcomes = [result.outcome for result in results]
    timings = [outcome.timings for outcome in outcomes]
    # Few in a group differ in these three, and an event's type is not ours to put into a literal.
    numbers: dict[tuple[UUID, bool, str], int] = {}
    kinds = [
        numbers.setdefault((one.event.tenant_id, one.event.livemode, one.event.type), len(numbers) + 1)
        for one in leased
    ]
    return {
        "event_ids": array([one.event.id for one in leased]),
        "endpoint_ids": array([one.endpoint_id for one in leased]),
        "tokens": array([one.lease.token for one in leased]),
        "kinds": array(kinds),
        "tenant_ids": [tenant_id for tenant_id, _, _ in numbers],
        "livemodes": [livemode for _, livemode, _ in numbers],
        "event_types": [event_type for _, _, event_type in numbers],
        "started_us": array([outcome.started_us for outcome in outcomes]),
        "latencies_ms": array([outcome.latency_ms for outcome in outcomes]),
        "dns_ms": _sparse([one.dns_ms for one in timings]),
        "connect_ms": _sparse([one.connect_ms for one in timings]),
        "tls_ms": _sparse([one.tls_ms for one in timings]),
        "first_byte_ms": _sparse([one.first_byte_ms for one in timings]),
        "response_statuses": _sparse([outcome.response_status for outcome in outcomes]),
        "causes": _sparse([outcome.cause for outcome in outcomes]),
        "bodies": _texts([outcome.response_body for outcome in outcomes]),
        "retries_seconds": _sparse([result.decision.retry_seconds for result in results]),
        "failures": _sparse([result.decision.failure for result in results]),
    }


def _texts(values: Sequence[str | None]) -> Sequence[str | None]:
    """What strangers wrote goes by the driver's own encoding."""
    return values if any(value is not None for value in values) else []
