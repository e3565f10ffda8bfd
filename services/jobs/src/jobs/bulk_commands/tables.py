"""The table of bulk commands on jobs."""

from sqlalchemy import CheckConstraint, Index, text

from jobs.registry import Base
from shared.bulk import BulkRow


class JobCommandRow(Base, BulkRow, table=True):
    """A command for all jobs that match."""

    __tablename__ = "job_commands"
    __table_args__ = (
        Index("ix_job_commands_running", "tenant_id", postgresql_where=text("status = 'running'")),
        Index("ix_job_commands_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        CheckConstraint("status IN ('running', 'completed', 'cancelled', 'failed')", name="status"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished"),
    )
