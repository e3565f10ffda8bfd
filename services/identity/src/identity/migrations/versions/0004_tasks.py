"""Creates the table of tasks."""

from shared.postgres.migrations import upgrade_base_tables

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    upgrade_base_tables(4)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
