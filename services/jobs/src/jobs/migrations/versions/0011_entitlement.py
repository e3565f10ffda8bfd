"""Entitlements say the plan, its features, and the tenant's clock; settings of tenants that concern jobs are kept by jobs."""

import sqlalchemy as sa
from alembic import op

from shared.postgres.migrations import upgrade_base_tables

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "tenant_settings",
        sa.Column("tenant_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("job_review", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenant_settings"),
    )
    op.execute("INSERT INTO tenant_settings SELECT tenant_id, version, job_review FROM access_tenants")
    upgrade_base_tables(6)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
