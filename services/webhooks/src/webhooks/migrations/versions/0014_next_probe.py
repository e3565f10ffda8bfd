"""An endpoint's row says when an open circuit breaker lets the next probe through."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("ALTER TABLE endpoints ADD COLUMN next_probe_at timestamptz")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
