"""Adds the job review of tenants."""

import sqlalchemy as sa
from alembic import op

from shared.postgres.migrations import upgrade_base_tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # In the order in which the service's own transactions touch these tables: the other one could deadlock with them. The default
    # stays: replicas of the release before write tenants without this column while the new ones start.
    op.add_column("tenants", sa.Column("job_review", sa.Boolean(), server_default=sa.false(), nullable=False))
    upgrade_base_tables(2)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
