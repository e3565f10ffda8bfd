"""E-mail addresses are confirmed; places of log-ins are known."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("logins", sa.Column("new_email", sa.Text(), nullable=True))
    op.add_column("logins", sa.Column("new_email_digest", sa.LargeBinary(), nullable=True))
    op.add_column("logins", sa.Column("new_email_expires_at", sa.DateTime(timezone=True), nullable=True))
    op.create_unique_constraint("uq_logins_new_email_digest", "logins", ["new_email_digest"])
    # With a default that stays: replicas of the release before write none.
    op.add_column("logins", sa.Column("places", ARRAY(sa.LargeBinary()), nullable=False, server_default="{}"))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
