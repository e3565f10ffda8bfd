"""Payment methods have versions."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    one, now = sa.text("1"), sa.text("now()")
    op.add_column("payment_methods", sa.Column("version", sa.BigInteger(), nullable=False, server_default=one))
    op.add_column(
        "payment_methods", sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=now)
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
