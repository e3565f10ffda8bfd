"""Entitlements say the plan, its features, and the tenant's clock."""

from shared.postgres.migrations import upgrade_base_tables

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    upgrade_base_tables(6)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
