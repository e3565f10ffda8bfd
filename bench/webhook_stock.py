"""Events and deliveries written by SQL as the service would have: millions that have ended, or a million that are due."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from bench.webhook_stage import Source, samples, say
from shared.ids import to_uuid
from shared.postgres.database import Database
from webhooks.events.fan_out import POSITIONS_PER_TRANSACTION
from webhooks.events.worker import partition_maintenance

CHUNK_EVENTS = 50_000
DAYS = 29
LAST_BEFORE_NOW = timedelta(minutes=2)
"""Small, so that deliveries in progress are not disturbed."""

# Ids of version 7: the millisecond first, then a unique number instead of random bits.
_EVENTS = f"""
    made AS MATERIALIZED (
        SELECT n, at, (
            lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8'
            || lpad(to_hex(n), 15, '0')
        )::uuid AS id
        FROM (
            SELECT n, $3::timestamptz + ($4::timestamptz - $3) * ((n - $1::bigint + 0.5) / ($2 - $1 + 1))::float8 AS at
            FROM generate_series($1, $2::bigint) AS n
        ) AS instants
    ),
    stored AS (
        INSERT INTO events (id, tenant_id, position, occurred_at, livemode, type, subject, reference, location_ids, body)
        SELECT id, $5::uuid, pg_current_xact_id()::text::bigint * {POSITIONS_PER_TRANSACTION} + n - $1, at, $9::boolean, 'job.created',
            'job_' || n, 'WEB' || lpad(n::text, 8, '0'), ARRAY[$6::uuid], convert_to(
                '{{"type":"job.created","timestamp":"2026-01-01T00:00:00.000000Z","data":{{"sent_ns":0,"n":' || n || ','
                || $7::text || '}}', 'UTF8')
        FROM made
    )
"""
# Each event was delivered by the first attempt, to the endpoints in turn.
_DELIVERED = f"""
    WITH {_EVENTS}
    INSERT INTO deliveries (
        event_id, endpoint_id, tenant_id, livemode, event_type, status, attempts_made, started_at, latency_ms, first_byte_ms,
        response_status, finished_at
    )
    SELECT id, ($8::uuid[])[n % cardinality($8) + 1], $5, $9, 'job.created', 'delivered', 1, at, 3, 3, 204, at FROM made
"""
# Each event is due at all endpoints: one half as first attempts without room, the other half as retries.
_DUE = f"""
    WITH {_EVENTS},
    pair AS MATERIALIZED (SELECT id, at, n % 2 = 1 AS retry, endpoint_id FROM made, unnest($8::uuid[]) AS endpoint_id),
    shown AS (
        INSERT INTO deliveries (
            event_id, endpoint_id, tenant_id, livemode, event_type, status, attempts_made, started_at, latency_ms, first_byte_ms,
            response_status, cause, next_attempt_at
        )
        SELECT id, endpoint_id, $5, $9, 'job.created', 'pending', retry::int, CASE WHEN retry THEN at END, CASE WHEN retry THEN 3 END,
            CASE WHEN retry THEN 3 END, CASE WHEN retry THEN 500 END, CASE WHEN retry THEN 'status' END, CASE WHEN retry THEN now() END
        FROM pair
    )
    INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry) SELECT id, endpoint_id, now(), retry FROM pair
"""


class Watch(Protocol):
    """Runs a statement as the superuser; its first value."""

    async def __call__(self, query: str, /, *values: object) -> Any: ...


async def make_days(database: Database) -> None:
    """Make the partitions of past days, as the service would have."""
    maintenance = partition_maintenance(database)
    for ago in range(DAYS, 0, -1):
        await maintenance.run_once(datetime.now(UTC) - timedelta(days=ago), kept=DAYS + 1)


async def write_delivered(
    watch: Watch, source: Source, endpoint_ids: Sequence[UUID], first: int, count: int, *, livemode: bool = True
) -> None:
    """Store `count` events with a delivery each, numbered from `first`: half of them today, half on earlier days."""
    now = datetime.now(UTC) - LAST_BEFORE_NOW
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    older = count // 2
    earlier = (midnight - timedelta(days=DAYS - 1), midnight)
    await _write(watch, _DELIVERED, source, endpoint_ids, (first, older), earlier, livemode=livemode)
    numbers = (first + older, count - older)
    await _write(watch, _DELIVERED, source, endpoint_ids, numbers, (midnight, now), livemode=livemode)
    await settle(watch)


async def write_due(watch: Watch, source: Source, endpoint_ids: Sequence[UUID], first: int, events: int) -> None:
    """Store that many events of the last minutes, due at all of these endpoints."""
    now = datetime.now(UTC) - LAST_BEFORE_NOW
    span = (now - timedelta(minutes=10), now)
    await _write(watch, _DUE, source, endpoint_ids, (first, events), span, each=len(endpoint_ids))
    await settle(watch)


async def settle(watch: Watch) -> None:
    """Vacuum and analyze, as PostgreSQL would have by itself."""
    for table in ("events", "deliveries", "delivery_due"):
        await watch(f"VACUUM ANALYZE {table}")
    await watch("CHECKPOINT")


async def _write(
    watch: Watch,
    statement: str,
    source: Source,
    endpoint_ids: Sequence[UUID],
    numbers: tuple[int, int],
    span: tuple[datetime, datetime],
    *,
    each: int = 1,
    livemode: bool = True,
) -> None:
    """`numbers`: the first one and the count. The events are spread over `span`."""
    tenant_id, location_id = source
    value = str(samples([source])[0][1])
    rest = value.removeprefix("{")
    first, count = numbers
    began, ended = span
    step = max(1, CHUNK_EVENTS // each)
    for start in range(0, count, step):
        some = min(step, count - start)
        since, until = (began + (ended - began) * (done / count) for done in (start, start + some))
        values = (first + start, first + start + some - 1, since, until)
        await watch(statement, *values, to_uuid(tenant_id), to_uuid(location_id), rest, list(endpoint_ids), livemode)
        if (start // step) % 10 == 9:
            say(f"  {start + some:,} of {count:,} events written")
