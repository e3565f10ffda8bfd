"""Workers find replays by their tasks."""

import sqlalchemy as sa
from alembic import op

from shared.ids import from_uuid
from shared.postgres.migrations import upgrade_base_tables

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    upgrade_base_tables(4)
    connection = op.get_bind()
    replays = connection.execute(sa.text("SELECT id, next_step_at FROM replays WHERE status = 'running'")).all()
    if replays:
        connection.execute(
            sa.text(
                "INSERT INTO tasks (task_id, kind, key, payload, due_at, next_at)"
                " VALUES (gen_random_uuid(), 'replay_step', :key, '{}', :due_at, :due_at)"
            ),
            [{"key": from_uuid("rpl", row.id), "due_at": row.next_step_at} for row in replays],
        )
    op.drop_index("ix_replays_running", "replays")
    op.drop_column("replays", "next_step_at")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
