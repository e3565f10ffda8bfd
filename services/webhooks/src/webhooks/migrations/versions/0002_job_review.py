"""Add the job review of tenants to the access projection."""

from shared.postgres.migrations import upgrade_base_tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    upgrade_base_tables(2)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
