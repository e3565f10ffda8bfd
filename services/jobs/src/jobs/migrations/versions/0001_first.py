"""Jobs, actions, and the tables of every service."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from shared.postgres.migrations import create_base_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TYPES = "'delivery', 'return', 'pickup', 'installation', 'service', 'exchange', 'custom'"
_JOB_STATUSES = "'staging', 'new', 'in_progress', 'completed', 'partially_completed', 'incomplete', 'damaged', 'resolved', 'cancelled'"
_ACTION_STATUSES = "'undetermined', 'completed', 'incomplete', 'damaged'"


def upgrade() -> None:
    create_base_tables()
    _create_jobs()
    _create_actions()


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("reference_id", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Uuid(), nullable=False),
        sa.Column("distribution_location_id", sa.Uuid()),
        sa.Column("scheduled_date", sa.Date()),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("time_window", JSONB()),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("short_description", sa.Text()),
        sa.Column("contact", JSONB(), nullable=False),
        sa.Column("address", JSONB(), nullable=False),
        sa.Column("geo", JSONB()),
        sa.Column("balance_owed", JSONB()),
        sa.Column("instructions", sa.Text()),
        sa.Column("invoices", ARRAY(sa.Text()), nullable=False),
        sa.Column("barcodes", ARRAY(sa.Text()), nullable=False),
        sa.Column("tags", ARRAY(sa.Text()), nullable=False),
        sa.Column("metadata", JSONB(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.CheckConstraint(f"status IN ({_JOB_STATUSES})", name=op.f("ck_jobs_status")),
        sa.CheckConstraint(f"type IN ({_TYPES})", name=op.f("ck_jobs_type")),
    )
    referenced = sa.text("reference_id IS NOT NULL")
    op.create_index(
        "uq_jobs_reference",
        "jobs",
        ["merchant_id", "livemode", "reference_id"],
        unique=True,
        postgresql_where=referenced,
    )
    op.create_index("ix_jobs_reference", "jobs", ["tenant_id", "livemode", "reference_id"], postgresql_where=referenced)
    for name, leading in (
        ("ix_jobs_of_tenant", ("tenant_id", "livemode")),
        ("ix_jobs_of_merchant", ("merchant_id", "livemode")),
        ("ix_jobs_of_location", ("tenant_id", "livemode", "location_id")),
        ("ix_jobs_of_status", ("tenant_id", "livemode", "status")),
    ):
        op.create_index(name, "jobs", [*leading, "created_at", "id"])


def _create_actions() -> None:
    op.create_table(
        "actions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sku", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Text()),
        sa.Column("barcode", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_actions"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_actions_job_id_jobs"),
        sa.CheckConstraint(f"status IN ({_ACTION_STATUSES})", name=op.f("ck_actions_status")),
        sa.CheckConstraint(f"type IN ({_TYPES})", name=op.f("ck_actions_type")),
    )
    op.create_index("ix_actions_of_job", "actions", ["job_id", "position", "id"])
