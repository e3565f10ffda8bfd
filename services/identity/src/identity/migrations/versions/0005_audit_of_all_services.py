"""Adds the service and the credential to audit events, and a shard of their own to the outbox."""

import sqlalchemy as sa
from alembic import op

from shared.postgres.migrations import upgrade_base_tables

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # The default stays: replicas of the release before write their own audit events without this column while the new ones start.
    op.add_column("audit_events", sa.Column("service", sa.Text(), server_default=sa.text("'identity'"), nullable=False))
    op.add_column("audit_events", sa.Column("credential_id", sa.Text()))
    upgrade_base_tables(5)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
