"""Parts of words are found by tokens, too; the service reindexes existing rows."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UNFILED = "NOT (terms @@ '''V:2''')"


def upgrade() -> None:
    for table in ("jobs", "actions"):
        op.execute(f"DROP INDEX ix_{table}_search")
        op.execute(
            f"""CREATE INDEX ix_{table}_search ON {table} USING gin (terms)
            WITH (gin_pending_list_limit = 256) WHERE deleted_at IS NULL"""
        )
        op.get_bind().exec_driver_sql(f"CREATE INDEX ix_{table}_unfiled ON {table} (id) WHERE {_UNFILED}")


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")
