"""Retention: history by month, and indexes for purged and erased rows."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The partitions of the first months, for the first writers; the service creates all others.
_MONTHS = """
DO $$
DECLARE
    since timestamptz;
    named text;
BEGIN
    LOCK TABLE job_history_other IN ACCESS EXCLUSIVE MODE;
    FOR ahead IN 0..3 LOOP
        since := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)) AT TIME ZONE 'UTC';
        named := 'job_history_' || to_char(since AT TIME ZONE 'UTC', 'YYYY_MM');
        EXECUTE format('CREATE TABLE %I (LIKE job_history INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', named);
        EXECUTE format(
            'WITH moved AS (DELETE FROM job_history_other WHERE occurred_at >= $1 AND occurred_at < $2 RETURNING *)
            INSERT INTO %I SELECT * FROM moved', named
        ) USING since, (since AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
        EXECUTE format(
            'ALTER TABLE job_history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            named, since, (since AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'
        );
    END LOOP;
END $$
"""


def upgrade() -> None:
    # The table is nearly always empty; without the index each search for old rows would scan it.
    op.execute("CREATE INDEX ix_job_history_other_occurred_at ON job_history_other (occurred_at)")
    op.get_bind().exec_driver_sql(_MONTHS)
    op.execute(
        """CREATE INDEX ix_job_history_contact ON job_history USING gin ((changes -> 'contact'))
        WHERE changes ? 'contact'"""
    )
    for table in ("jobs", "actions"):
        deleted = sa.text("deleted_at IS NOT NULL")
        op.create_index(f"ix_{table}_purged", table, ["deleted_at"], postgresql_where=deleted)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward")
