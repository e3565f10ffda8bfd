"""Refused rows of imports are kept for a while, to be corrected."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("ALTER TABLE import_errors ADD COLUMN content text")
    op.execute("ALTER TABLE imports ADD COLUMN refused_bytes bigint NOT NULL DEFAULT 0")
    op.execute("CREATE INDEX ix_imports_refused ON imports (finished_at) WHERE refused_bytes > 0")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
