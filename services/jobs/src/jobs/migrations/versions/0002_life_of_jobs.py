"""Commands, deletion, history and search of jobs, and further fields of actions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from shared.postgres.migrations import upgrade_base_tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEPT = "deleted_at IS NULL"
_JOB_INDEXES = {
    "ix_jobs_of_tenant": "(tenant_id, livemode, created_at, id)",
    "ix_jobs_of_merchant": "(merchant_id, livemode, created_at, id)",
    "ix_jobs_of_location": "(tenant_id, livemode, location_id, created_at, id)",
    "ix_jobs_of_status": "(tenant_id, livemode, status, created_at, id)",
    "ix_jobs_of_type": "(tenant_id, livemode, type, created_at, id)",
    "ix_jobs_updated": "(tenant_id, livemode, updated_at, id)",
    "ix_jobs_status_changed": "(tenant_id, livemode, status_changed_at, id)",
    "ix_jobs_scheduled": "(tenant_id, livemode, coalesce(scheduled_date, '9999-12-31'::date), id)",
    "ix_jobs_of_customer": "(tenant_id, livemode, customer_key, created_at, id)",
}
_ACTION_INDEXES = {
    "ix_actions_of_tenant": "(tenant_id, livemode, created_at, id)",
    "ix_actions_of_merchant": "(merchant_id, livemode, created_at, id)",
    "ix_actions_of_status": "(tenant_id, livemode, status, created_at, id)",
    "ix_actions_of_type": "(tenant_id, livemode, type, created_at, id)",
    "ix_actions_updated": "(tenant_id, livemode, updated_at, id)",
}


def upgrade() -> None:
    upgrade_base_tables(2)
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    _extend_jobs()
    _extend_actions()
    _index()
    _create_history()


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")


def _extend_jobs() -> None:
    instant = sa.DateTime(timezone=True)
    for column in (
        sa.Column("status_reason", sa.Text()),
        sa.Column("status_changed_at", instant),
        sa.Column("assigned_to", sa.Text()),
        sa.Column("deleted_at", instant),
        sa.Column("erased_at", instant),
        sa.Column("terms", TSVECTOR(), nullable=False, server_default=""),
        sa.Column("parts", sa.Text(), nullable=False, server_default=""),
        sa.Column("customer_key", sa.Text()),
    ):
        op.add_column("jobs", column)
    op.execute("UPDATE jobs SET status_changed_at = created_at")
    op.alter_column("jobs", "status_changed_at", nullable=False)
    op.drop_column("jobs", "sequence")
    # Tokens that are frequent in one tenant can be missing among the hundred values of default statistics.
    op.execute("ALTER TABLE jobs ALTER COLUMN terms SET STATISTICS 400, ALTER COLUMN parts SET STATISTICS 400")


def _extend_actions() -> None:
    for column in (
        sa.Column("tenant_id", sa.Uuid()),
        sa.Column("merchant_id", sa.Uuid()),
        sa.Column("livemode", sa.Boolean()),
        sa.Column("piece_count", sa.Integer()),
        sa.Column("value", JSONB()),
        sa.Column("weight_grams", sa.BigInteger()),
        sa.Column("volume_cubic_cm", sa.BigInteger()),
        sa.Column("handling_seconds", sa.Integer()),
        sa.Column("stop", JSONB()),
        sa.Column("invoice_number", sa.Text()),
        sa.Column("external_reference_id", sa.Text()),
        sa.Column("outcome", JSONB()),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("terms", TSVECTOR(), nullable=False, server_default=""),
        sa.Column("parts", sa.Text(), nullable=False, server_default=""),
    ):
        op.add_column("actions", column)
    op.execute(
        """UPDATE actions SET tenant_id = jobs.tenant_id, merchant_id = jobs.merchant_id, livemode = jobs.livemode
        FROM jobs WHERE jobs.id = actions.job_id"""
    )
    for name in ("tenant_id", "merchant_id", "livemode"):
        op.alter_column("actions", name, nullable=False)
    op.execute("ALTER TABLE actions ALTER COLUMN terms SET STATISTICS 400, ALTER COLUMN parts SET STATISTICS 400")


def _index() -> None:
    for name in ("uq_jobs_reference", "ix_jobs_reference", *_JOB_INDEXES):
        op.execute(f"DROP INDEX IF EXISTS {name}")
    referenced = f"WHERE reference_id IS NOT NULL AND {_KEPT}"
    op.execute(f"CREATE UNIQUE INDEX uq_jobs_reference ON jobs (merchant_id, livemode, reference_id) {referenced}")
    op.execute(f"CREATE INDEX ix_jobs_reference ON jobs (tenant_id, livemode, reference_id) {referenced}")
    for table, indexes in (("jobs", _JOB_INDEXES), ("actions", _ACTION_INDEXES)):
        for name, columns in indexes.items():
            op.execute(f"CREATE INDEX {name} ON {table} {columns} WHERE {_KEPT}")
        op.execute(
            f"""CREATE INDEX ix_{table}_search ON {table} USING gin (terms, parts gin_trgm_ops)
            WITH (gin_pending_list_limit = 256) WHERE {_KEPT}"""
        )
    op.execute(
        "CREATE INDEX ix_jobs_deleted ON jobs (tenant_id, livemode, created_at, id) WHERE deleted_at IS NOT NULL"
    )


def _create_history() -> None:
    op.create_table(
        "job_history",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action_id", sa.Uuid()),
        sa.Column("changed_fields", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("changes", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "sequence", "occurred_at", name="pk_job_history"),
        postgresql_partition_by="RANGE (occurred_at)",
    )
    # Rows of months without a partition.
    op.execute("CREATE TABLE job_history_other PARTITION OF job_history DEFAULT")
