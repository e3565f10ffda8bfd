"""Clocks of test tenants."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "test_clocks",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("target_at", INSTANT),
        sa.Column("arrival_event", sa.Text),
        sa.Column("acknowledged_by", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_test_clocks")),
        sa.CheckConstraint("status IN ('ready', 'advancing')", name=op.f("ck_test_clocks_status")),
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
