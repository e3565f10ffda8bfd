"""Timers become tasks."""

import sqlalchemy as sa
from alembic import op

from shared.ids import from_uuid
from shared.postgres.migrations import upgrade_base_tables

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    upgrade_base_tables(4)
    connection = op.get_bind()
    timers = connection.execute(sa.text("SELECT kind, tenant_id, due_at FROM timers")).all()
    if timers:
        connection.execute(
            sa.text(
                "INSERT INTO tasks (task_id, kind, key, payload, due_at, next_at)"
                " VALUES (gen_random_uuid(), :kind, :key, '{}', :due_at, :due_at)"
            ),
            [{"kind": row.kind, "key": from_uuid("ten", row.tenant_id), "due_at": row.due_at} for row in timers],
        )
    op.drop_table("timers")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
