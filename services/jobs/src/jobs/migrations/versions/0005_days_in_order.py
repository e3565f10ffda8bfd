"""The index of scheduled dates, with the jobs of one day in the order of creation."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP INDEX ix_jobs_scheduled")
    op.execute(
        """CREATE INDEX ix_jobs_scheduled
        ON jobs (tenant_id, livemode, coalesce(scheduled_date, '9999-12-31'::date), created_at, id)
        WHERE deleted_at IS NULL"""
    )


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")
