"""Daily partitions of events, deliveries and attempts; batch leases; a rate, an order, a retry schedule and failures of each endpoint.

Existing rows are copied into the new tables. From now on the public id of a delivery is derived from its event and its endpoint.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

DAYS_BACK_MAX = 45
DAYS_AHEAD = 3

# The first number is drawn here, so that the number of the first change differs from that of no change. A transaction that changes an
# endpoint holds a shared lock until it ends: while the lock is free, all transactions that drew a number have ended.
_ENDPOINTS = """
ALTER TABLE endpoints
    ADD COLUMN retry_schedule_seconds double precision[],
    ADD COLUMN rate_limit_per_second double precision,
    ADD COLUMN ordered_by_job boolean NOT NULL DEFAULT false,
    ADD COLUMN previous_secret_sealed bytea,
    ADD COLUMN previous_secret_until timestamptz,
    ADD COLUMN signing_key_sealed bytea,
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN failures_since integer NOT NULL DEFAULT 0,
    ADD COLUMN warned_at timestamptz,
    ADD CONSTRAINT ck_endpoints_rate CHECK (rate_limit_per_second > 0),
    ADD CONSTRAINT ck_endpoints_previous_secret CHECK ((previous_secret_sealed IS NULL) = (previous_secret_until IS NULL));
CREATE INDEX ix_endpoints_updated_at ON endpoints (updated_at);
CREATE SEQUENCE endpoint_changes;
SELECT nextval('endpoint_changes');
CREATE FUNCTION tell_of_endpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7229005);
    PERFORM pg_notify('webhooks_endpoints', NEW.id || ' ' || nextval('endpoint_changes'));
    RETURN NULL;
END $$;
CREATE TRIGGER tell_of_endpoint
    AFTER INSERT OR UPDATE OF url, event_types, location_ids, headers_sealed, secret_sealed, previous_secret_sealed,
        previous_secret_until, signing_key_sealed, retry_schedule_seconds, rate_limit_per_second, ordered_by_job, enabled, deleted_at
    ON endpoints FOR EACH ROW EXECUTE FUNCTION tell_of_endpoint();
"""

# The new tables need the names of keys and indexes.
_SET_ASIDE = """
ALTER TABLE events RENAME TO old_events;
ALTER TABLE old_events DROP CONSTRAINT pk_events;
ALTER TABLE deliveries RENAME TO old_deliveries;
ALTER TABLE old_deliveries DROP CONSTRAINT pk_deliveries, DROP CONSTRAINT uq_deliveries_event_id_endpoint_id,
    DROP CONSTRAINT ck_deliveries_one_end, DROP CONSTRAINT ck_deliveries_failure;
DROP INDEX ix_deliveries_tenant_id_deliveries_id, ix_deliveries_endpoint_id_deliveries_id, ix_deliveries_failed;
ALTER TABLE attempts RENAME TO old_attempts;
ALTER TABLE old_attempts DROP CONSTRAINT pk_attempts;
ALTER TABLE delivery_due RENAME TO old_delivery_due;
ALTER TABLE old_delivery_due DROP CONSTRAINT pk_delivery_due, DROP CONSTRAINT ck_delivery_due_lease_token;
"""

# Wide columns first, so that nothing is lost to alignment.
_TABLES = """
CREATE TABLE events (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    position bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    livemode boolean NOT NULL,
    type text NOT NULL,
    subject text NOT NULL,
    location_ids uuid[] NOT NULL,
    traceparent text,
    body bytea NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX ix_events_feed ON events (tenant_id, livemode, position);

CREATE TABLE deliveries (
    event_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    next_attempt_at timestamptz,
    latency_ms integer,
    dns_ms integer,
    connect_ms integer,
    tls_ms integer,
    first_byte_ms integer,
    attempts_made smallint NOT NULL DEFAULT 0,
    response_status smallint,
    livemode boolean NOT NULL,
    status text NOT NULL,
    event_type text NOT NULL,
    cause text,
    failure text,
    response_body text,
    CONSTRAINT pk_deliveries PRIMARY KEY (endpoint_id, event_id),
    CONSTRAINT ck_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed')),
    CONSTRAINT ck_deliveries_finished CHECK ((status = 'pending') = (finished_at IS NULL)),
    CONSTRAINT ck_deliveries_failure CHECK ((status = 'failed') = (failure IS NOT NULL))
) PARTITION BY RANGE (event_id);
CREATE INDEX ix_deliveries_tenant ON deliveries (tenant_id, livemode, event_id);
CREATE INDEX ix_deliveries_failed ON deliveries (tenant_id, livemode, event_id) WHERE status = 'failed';
CREATE INDEX ix_deliveries_endpoint_failed ON deliveries (endpoint_id, event_id) WHERE status = 'failed';

CREATE TABLE attempts (
    event_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    latency_ms integer NOT NULL,
    dns_ms integer,
    connect_ms integer,
    tls_ms integer,
    first_byte_ms integer,
    number smallint NOT NULL,
    response_status smallint,
    cause text,
    response_body text,
    CONSTRAINT pk_attempts PRIMARY KEY (event_id, endpoint_id, number)
) PARTITION BY RANGE (event_id);

CREATE TABLE delivery_due (
    event_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    lease_token bigint,
    position bigint,
    attempts_before smallint NOT NULL DEFAULT 0,
    retry boolean NOT NULL,
    subject text,
    CONSTRAINT pk_delivery_due PRIMARY KEY (event_id, endpoint_id),
    CONSTRAINT ck_delivery_due_lease_token CHECK (lease_token > 0),
    CONSTRAINT ck_delivery_due_order CHECK ((subject IS NULL) = (position IS NULL))
);
CREATE INDEX ix_delivery_due_queue ON delivery_due (retry, endpoint_id, due_at);
CREATE INDEX ix_delivery_due_order ON delivery_due (endpoint_id, subject, position) WHERE subject IS NOT NULL;

CREATE TABLE flights (
    token bigint NOT NULL,
    lease_until timestamptz NOT NULL,
    event_ids uuid[] NOT NULL,
    endpoint_ids uuid[] NOT NULL,
    CONSTRAINT pk_flights PRIMARY KEY (token),
    CONSTRAINT ck_flights_pairs CHECK (cardinality(event_ids) = cardinality(endpoint_ids)),
    CONSTRAINT ck_flights_token CHECK (token > 0)
);
ALTER TABLE flights ALTER COLUMN event_ids SET STORAGE EXTERNAL, ALTER COLUMN endpoint_ids SET STORAGE EXTERNAL;

CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;
"""

# Rows live for milliseconds: vacuum by count, and never give space back (that would lock the table).
_SHORT_LIVED = """
ALTER TABLE {table} SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false
)
"""
_SHORT_LIVED_ARRAYS = """
ALTER TABLE flights SET (
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000,
    toast.autovacuum_vacuum_cost_delay = 0, toast.vacuum_truncate = false
)
"""

_DAYS = """
SELECT DISTINCT ('x' || lpad(left(replace(id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint / 86400000 FROM old_events
"""

_CARRY_OVER = """
INSERT INTO events (id, tenant_id, position, occurred_at, livemode, type, subject, location_ids, traceparent, body)
SELECT id, tenant_id, row_number() OVER (ORDER BY id), occurred_at, livemode, type,
    coalesce(convert_from(body, 'UTF8')::jsonb #>> '{data,job,id}', ''), location_ids, traceparent, body
FROM old_events;
INSERT INTO deliveries (
    event_id, endpoint_id, tenant_id, started_at, finished_at, next_attempt_at, latency_ms, attempts_made, response_status, livemode,
    status, event_type, cause, failure, response_body
)
SELECT d.event_id, d.endpoint_id, d.tenant_id, a.started_at, coalesce(d.delivered_at, d.failed_at), d.next_attempt_at, a.latency_ms,
    d.attempts_made, d.response_status, d.livemode,
    CASE WHEN d.delivered_at IS NOT NULL THEN 'delivered' WHEN d.failed_at IS NOT NULL THEN 'failed' ELSE 'pending' END,
    d.event_type, d.cause, d.failure, a.response_body
FROM old_deliveries d LEFT JOIN old_attempts a ON a.delivery_id = d.id AND a.number = d.attempts_made;
INSERT INTO attempts (event_id, endpoint_id, started_at, latency_ms, number, response_status, cause, response_body)
SELECT d.event_id, d.endpoint_id, a.started_at, a.latency_ms, a.number, a.response_status, a.cause, a.response_body
FROM old_attempts a JOIN old_deliveries d ON d.id = a.delivery_id WHERE a.number <> d.attempts_made;
INSERT INTO delivery_due (event_id, endpoint_id, due_at, retry)
SELECT d.event_id, d.endpoint_id, q.due_at, q.retry FROM old_delivery_due q JOIN old_deliveries d ON d.id = q.delivery_id;
DROP TABLE old_attempts, old_delivery_due, old_deliveries, old_events;
"""


def upgrade() -> None:
    for script in (_ENDPOINTS, _SET_ASIDE, _TABLES):
        _run(script)
    for table in ("delivery_due", "flights"):
        _run(_SHORT_LIVED.format(table=table))
    _run(_SHORT_LIVED_ARRAYS)
    _create_days()
    _run(_CARRY_OVER)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")


def _create_days() -> None:
    """Create a partition for each day that has events and for the coming days; rows of days far away stay in the default partition."""
    today = datetime.now(UTC).date()
    wanted = {today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)}
    first = datetime(1970, 1, 1, tzinfo=UTC).date()
    for (number,) in op.get_bind().execute(text(_DAYS)):
        if abs(number - (today - first).days) <= DAYS_BACK_MAX:
            wanted.add(first + timedelta(days=number))
    for day in sorted(wanted):
        lower, upper = (UUID(int=((day - first).days + more) * 86_400_000 << 80) for more in (0, 1))
        for table in ("events", "deliveries", "attempts"):
            _run(f"CREATE TABLE {table}_{day:%Y%m%d} PARTITION OF {table} FOR VALUES FROM ('{lower}') TO ('{upper}')")


def _run(script: str) -> None:
    # The body of the function holds the only semicolons that do not end a statement.
    statements, inside = [""], False
    for line in script.splitlines():
        inside ^= line.count("$$") % 2 == 1
        statements[-1] += line + "\n"
        if line.rstrip().endswith(";") and not inside:
            statements.append("")
    for statement in statements:
        if statement.strip():
            op.execute(text(statement.replace(":", "\\:")))
