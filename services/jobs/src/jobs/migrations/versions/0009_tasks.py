"""Workers find imports by their tasks."""

import sqlalchemy as sa
from alembic import op

from shared.ids import from_uuid
from shared.postgres.migrations import upgrade_base_tables

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    upgrade_base_tables(4)
    connection = op.get_bind()
    imports = connection.execute(sa.text("SELECT id, turn_at FROM imports WHERE status IN ('queued', 'running')")).all()
    if imports:
        connection.execute(
            sa.text(
                "INSERT INTO tasks (task_id, kind, key, payload, due_at, next_at)"
                " VALUES (gen_random_uuid(), 'import', :key, '{}', :due_at, :due_at)"
            ),
            [{"key": from_uuid("imp", row.id), "due_at": row.turn_at} for row in imports],
        )
    op.drop_index("ix_imports_due", "imports")
    for name in ("turn_at", "lease_token", "leased_until", "failures"):
        op.drop_column("imports", name)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
