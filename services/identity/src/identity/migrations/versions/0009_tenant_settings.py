"""Tenants have settings, and an Auth Key need not be stored."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # The defaults stay: replicas of the release before write tenants without these columns while the new ones start.
    op.add_column("tenants", sa.Column("reveal", sa.Text(), server_default=sa.text("'step_up'"), nullable=False))
    op.add_column(
        "tenants", sa.Column("second_factor", sa.Text(), server_default=sa.text("'optional'"), nullable=False)
    )
    op.add_column("tenants", sa.Column("session_token_seconds", sa.Integer()))
    op.add_column("tenants", sa.Column("session_days", sa.Integer()))
    op.add_column(
        "tenants", sa.Column("notices_off", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False)
    )
    op.create_check_constraint(op.f("ck_tenants_reveal"), "tenants", "reveal IN ('step_up', 'once', 'off')")
    op.create_check_constraint(op.f("ck_tenants_second_factor"), "tenants", "second_factor IN ('optional', 'required')")
    op.create_index(op.f("ix_sessions_tenant_id"), "sessions", ["tenant_id"])
    op.drop_constraint(op.f("ck_merchants_pair"), "merchants", type_="check")
    op.create_check_constraint(
        op.f("ck_merchants_pair"),
        "merchants",
        "NOT api_access OR (account_id IS NOT NULL AND key_digest IS NOT NULL)",
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
