"""Closed tenants remember that their personal data are deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("tenants", sa.Column("purged_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
