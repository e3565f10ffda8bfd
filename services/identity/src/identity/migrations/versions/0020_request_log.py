"""Requests with credentials: those that failed, and how many there were in each hour."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "failed_requests",
        sa.Column("failed_request_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("credential_id", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=True),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("milliseconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("failed_request_id", name=op.f("pk_failed_requests")),
    )
    op.create_index("ix_failed_requests_page", "failed_requests", ["tenant_id", "at", "failed_request_id"])
    for what in ("subject", "credential"):
        columns = ["tenant_id", f"{what}_id", "at", "failed_request_id"]
        op.create_index(f"ix_failed_requests_{what}", "failed_requests", columns)
    op.create_table(
        "request_counts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("credential_id", sa.Text(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("process_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=True),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id", "credential_id", "hour", "service", "process_id", name=op.f("pk_request_counts")
        ),
    )
    op.create_index(op.f("ix_request_counts_hour"), "request_counts", ["hour"])


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
