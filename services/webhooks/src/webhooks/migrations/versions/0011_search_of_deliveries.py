"""Deliveries are found by the job of their event and by the cause of their failure, which may have a detail."""

from alembic import op

revision = "0011"
down_revision = "0010"

# A delivery that succeeds with its first attempt never enters the last two indexes.
_STATEMENTS = (
    "ALTER TABLE deliveries ADD COLUMN cause_detail text",
    "ALTER TABLE attempts ADD COLUMN cause_detail text",
    "CREATE INDEX ix_events_subject ON events (subject, id)",
    "CREATE INDEX ix_deliveries_cause ON deliveries (tenant_id, livemode, cause, event_id) WHERE cause IS NOT NULL",
    "CREATE INDEX ix_deliveries_endpoint_cause ON deliveries (endpoint_id, cause, event_id) WHERE cause IS NOT NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
