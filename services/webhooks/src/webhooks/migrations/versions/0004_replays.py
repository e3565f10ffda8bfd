"""Replays, and the instant since which an endpoint has been disabled."""

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"

_REPLAYS = """
CREATE TABLE replays (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    livemode boolean NOT NULL,
    endpoint_id uuid NOT NULL,
    kind text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    untried_since timestamptz,
    event_types text[],
    dry_run boolean NOT NULL,
    rate_per_second double precision NOT NULL,
    status text NOT NULL,
    failure text,
    after_position bigint NOT NULL,
    after_event_id uuid NOT NULL,
    next_step_at timestamptz NOT NULL,
    examined bigint NOT NULL,
    matched bigint NOT NULL,
    queued bigint NOT NULL,
    progress double precision NOT NULL,
    created_by text NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT pk_replays PRIMARY KEY (id),
    CONSTRAINT ck_replays_kind CHECK (kind IN ('failed', 'missing', 'filter')),
    CONSTRAINT ck_replays_status CHECK (status IN ('running', 'completed', 'cancelled', 'failed')),
    CONSTRAINT ck_replays_finished CHECK ((status = 'running') = (finished_at IS NULL)),
    CONSTRAINT ck_replays_failure CHECK ((status = 'failed') = (failure IS NOT NULL)),
    CONSTRAINT ck_replays_range CHECK (since < until),
    CONSTRAINT ck_replays_rate CHECK (rate_per_second > 0)
);
"""
_STATEMENTS = (
    _REPLAYS,
    "CREATE INDEX ix_replays_tenant ON replays (tenant_id, livemode, id)",
    "CREATE INDEX ix_replays_running ON replays (next_step_at) WHERE status = 'running'",
    "ALTER TABLE endpoints ADD COLUMN disabled_at timestamptz",
    "UPDATE endpoints SET disabled_at = updated_at WHERE NOT enabled",
    # A trigger, because endpoints are disabled in several places: by people, after a 410, and after failing for long.
    """
    CREATE FUNCTION note_switching() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.disabled_at := CASE WHEN NOT NEW.enabled THEN coalesce(NEW.disabled_at, now()) END;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER note_switching_on_insert BEFORE INSERT ON endpoints
        FOR EACH ROW WHEN (NOT NEW.enabled) EXECUTE FUNCTION note_switching()
    """,
    """
    CREATE TRIGGER note_switching_on_update BEFORE UPDATE OF enabled ON endpoints
        FOR EACH ROW WHEN (OLD.enabled IS DISTINCT FROM NEW.enabled) EXECUTE FUNCTION note_switching()
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(text(statement.replace(":=", "\\:=")))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
