"""Words of all scripts are found; the service reindexes existing rows."""

from alembic import op

revision = "0012"
down_revision = "0011"

_UNFILED = "NOT (terms @@ '''V:4''')"


def upgrade() -> None:
    for table in ("jobs", "actions"):
        op.execute(f"DROP INDEX ix_{table}_unfiled")
        op.get_bind().exec_driver_sql(f"CREATE INDEX ix_{table}_unfiled ON {table} (id) WHERE {_UNFILED}")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only: put a mistake right with the next one")
