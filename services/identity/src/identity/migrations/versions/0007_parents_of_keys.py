"""API keys remember the key that made them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("parent_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_api_keys_parent_id_api_keys"), "api_keys", "api_keys", ["parent_id"], ["key_id"])
    op.create_index(op.f("ix_api_keys_parent_id"), "api_keys", ["parent_id"])


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
