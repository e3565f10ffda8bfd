"""People may have a second factor."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "second_factors",
        sa.Column("subject_id", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.tenant_id"), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("recovery_digests", ARRAY(sa.LargeBinary()), nullable=False),
    )
    op.create_index("ix_second_factors_tenant_id", "second_factors", ["tenant_id"])


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
