"""Signing keys have a proof by a root key."""

from shared.postgres.migrations import upgrade_base_tables

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    upgrade_base_tables(7)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
