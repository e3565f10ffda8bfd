"""The latest revocations of a tenant are found by an index."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_revocations_tenant ON revocations (tenant_id, revoked_at)")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
