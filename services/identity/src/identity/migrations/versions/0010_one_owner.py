"""The database itself holds that each tenant has exactly one owner."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_unique_constraint(op.f("uq_users_user_id_kind"), "users", ["user_id", "kind"])
    op.add_column("tenants", sa.Column("owner_kind", sa.Text(), server_default=sa.text("'owner'"), nullable=False))
    op.create_check_constraint(op.f("ck_tenants_owner_kind"), "tenants", "owner_kind = 'owner'")
    op.create_foreign_key(
        op.f("fk_tenants_owner_id_owner_kind_users"),
        "tenants",
        "users",
        ["owner_id", "owner_kind"],
        ["user_id", "kind"],
        deferrable=True,
        initially="DEFERRED",
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
