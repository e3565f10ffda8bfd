"""Indexes of pending and failed deliveries in the order of lists, and of replays by endpoint and by status."""

from alembic import op

revision = "0005"
down_revision = "0004"

# The first two have few rows: a delivery that succeeds with its first attempt never enters them.
_STATEMENTS = (
    "CREATE INDEX ix_deliveries_open ON deliveries (tenant_id, livemode, status, event_id) WHERE status <> 'delivered'",
    "CREATE INDEX ix_deliveries_endpoint_open ON deliveries (endpoint_id, status, event_id) WHERE status <> 'delivered'",
    "DROP INDEX ix_deliveries_failed, ix_deliveries_endpoint_failed",
    "CREATE INDEX ix_replays_endpoint ON replays (endpoint_id, id)",
    "CREATE INDEX ix_replays_status ON replays (tenant_id, livemode, status, id)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
