"""Revocations, what replicas report of them, and the replicas that are known."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "revocations",
        sa.Column("revocation_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("revocation_id", name=op.f("pk_revocations")),
    )
    op.create_index(op.f("ix_revocations_revoked_at"), "revocations", ["revoked_at"])
    op.create_table(
        "revocation_acknowledgements",
        sa.Column("revocation_id", sa.Uuid(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("replica", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["revocation_id"],
            ["revocations.revocation_id"],
            name=op.f("fk_revocation_acknowledgements_revocation_id_revocations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "revocation_id", "service", "replica", "event_id", name=op.f("pk_revocation_acknowledgements")
        ),
    )
    op.create_table(
        "replicas",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("replica", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("service", "replica", name=op.f("pk_replicas")),
    )
    op.create_index(op.f("ix_replicas_last_heard_at"), "replicas", ["last_heard_at"])


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
