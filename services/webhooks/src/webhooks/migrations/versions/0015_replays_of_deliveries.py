"""A replay can be of the deliveries that a list shows, to all endpoints."""

from alembic import op

revision = "0015"
down_revision = "0014"

_STATEMENTS = (
    "ALTER TABLE replays ALTER COLUMN endpoint_id DROP NOT NULL",
    "ALTER TABLE replays ADD COLUMN deliveries jsonb",
    "ALTER TABLE replays ADD COLUMN after_endpoint_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'",
    "ALTER TABLE replays ADD COLUMN skipped bigint NOT NULL DEFAULT 0",
    "ALTER TABLE replays DROP CONSTRAINT ck_replays_kind",
    """
    ALTER TABLE replays
        ADD CONSTRAINT ck_replays_kind CHECK (kind IN ('failed', 'missing', 'filter', 'deliveries')),
        ADD CONSTRAINT ck_replays_endpoint CHECK (endpoint_id IS NOT NULL OR kind = 'deliveries')
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
