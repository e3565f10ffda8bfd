"""Deliveries are found by the reference of the job of their event."""

from alembic import op

revision = "0013"
down_revision = "0012"

# An event of a job without a reference never enters the index.
_STATEMENTS = (
    "ALTER TABLE events ADD COLUMN reference text",
    "CREATE INDEX ix_events_reference ON events (tenant_id, reference, id) WHERE reference IS NOT NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
