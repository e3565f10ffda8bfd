"""Mail: the language of people, refused addresses, and the events that mails were written for."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    for table in ("users", "merchants"):
        op.add_column(table, sa.Column("language", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("email_refused_at", sa.DateTime(timezone=True), nullable=True))
        op.add_column(table, sa.Column("email_refusal", sa.Text(), nullable=True))
        op.create_check_constraint(op.f(f"ck_{table}_language"), table, "language IN ('en', 'fr')")
    op.create_table(
        "mailed_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("mailed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_mailed_events")),
    )
    op.create_index(op.f("ix_mailed_events_mailed_at"), "mailed_events", ["mailed_at"])


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
