"""Imports know the separator and the charset of their file."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("imports", sa.Column("separator", sa.Text))
    op.add_column("imports", sa.Column("charset", sa.Text))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
