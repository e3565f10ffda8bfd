"""Adds a shard to the outbox for events that are kept apart from all others."""

from shared.postgres.migrations import upgrade_base_tables

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    upgrade_base_tables(5)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
