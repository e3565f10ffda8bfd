"""Imports: files of jobs that are read in the background."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_imports()
    _create_pieces()
    _create_errors()
    _create_references()


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")


def _create_imports() -> None:
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid()),
        sa.Column("for_merchant_id", sa.Uuid()),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text()),
        sa.Column("credential_id", sa.Text()),
        sa.Column("credential_digest", sa.Text()),
        sa.Column("columns", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("next_line", sa.BigInteger(), nullable=False),
        sa.Column("rows_total", sa.Integer()),
        sa.Column("rows_done", sa.Integer(), nullable=False),
        sa.Column("jobs_created", sa.Integer(), nullable=False),
        sa.Column("rows_failed", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("reason_code", sa.Text()),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("touched_at", instant, nullable=False),
        sa.Column("started_at", instant),
        sa.Column("finished_at", instant),
        sa.Column("turn_at", instant, nullable=False),
        sa.Column("lease_token", sa.Uuid()),
        sa.Column("leased_until", instant),
        sa.Column("failures", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint(
            "status IN ('uploading', 'queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name="ck_imports_status",
        ),
        sa.CheckConstraint("format IN ('csv', 'ndjson')", name="ck_imports_format"),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
    )
    op.execute("CREATE INDEX ix_imports_of_tenant ON imports (tenant_id, livemode, created_at, id)")
    op.execute("CREATE INDEX ix_imports_due ON imports (turn_at, id) WHERE status IN ('queued', 'running')")
    op.execute("CREATE INDEX ix_imports_uploading ON imports (touched_at) WHERE status = 'uploading'")
    op.execute("CREATE INDEX ix_imports_finished ON imports (finished_at) WHERE finished_at IS NOT NULL")


def _create_pieces() -> None:
    op.create_table(
        "import_pieces",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "number", name="pk_import_pieces"),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name="fk_import_pieces_import_id_imports", ondelete="CASCADE"
        ),
    )


def _create_errors() -> None:
    op.create_table(
        "import_errors",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("reference_id", sa.Text()),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("errors", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "line", name="pk_import_errors"),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name="fk_import_errors_import_id_imports", ondelete="CASCADE"
        ),
    )


def _create_references() -> None:
    op.create_table(
        "import_references",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("merchant_id", sa.Uuid(), nullable=False),
        sa.Column("reference_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "merchant_id", "reference_id", name="pk_import_references"),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name="fk_import_references_import_id_imports", ondelete="CASCADE"
        ),
    )
