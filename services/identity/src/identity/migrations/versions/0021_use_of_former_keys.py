"""When a merchant's former key was last used, while it is valid beside the new one."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("merchants", sa.Column("previous_key_used_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
