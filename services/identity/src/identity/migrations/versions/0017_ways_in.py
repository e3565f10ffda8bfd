"""Invitations have ids and inviters; passwords can be reset."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    # With defaults that stay: replicas of the release before write none of these.
    op.add_column("logins", sa.Column("invitation_id", sa.Uuid(), nullable=True))
    op.add_column("logins", sa.Column("invited_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("logins", sa.Column("inviters", ARRAY(sa.Text()), nullable=False, server_default="{}"))
    op.add_column("logins", sa.Column("reset_digest", sa.LargeBinary(), nullable=True))
    op.add_column("logins", sa.Column("reset_expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "logins", sa.Column("reset_mailed_at", ARRAY(sa.DateTime(timezone=True)), nullable=False, server_default="{}")
    )
    op.execute(
        "UPDATE logins SET invitation_id = gen_random_uuid(), invited_at = invitation_expires_at - interval '7 days' "
        "WHERE invitation_expires_at IS NOT NULL"
    )
    op.create_unique_constraint("uq_logins_invitation_id", "logins", ["invitation_id"])
    op.create_unique_constraint("uq_logins_reset_digest", "logins", ["reset_digest"])


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
