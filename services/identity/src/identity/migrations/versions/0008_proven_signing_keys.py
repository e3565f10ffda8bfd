"""Signing keys have a proof by a root key."""

import sqlalchemy as sa
from alembic import op

from shared.postgres.migrations import upgrade_base_tables

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    upgrade_base_tables(7)
    op.add_column("signing_keys", sa.Column("proof", sa.Text(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
