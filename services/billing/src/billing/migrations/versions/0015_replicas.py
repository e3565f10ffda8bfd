"""A test clock waits for every replica that runs."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("test_clocks", sa.Column("acknowledged_at", INSTANT))
    op.create_table(
        "replicas",
        sa.Column("replica", sa.Text, nullable=False),
        sa.Column("last_heard_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("replica", name=op.f("pk_replicas")),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
