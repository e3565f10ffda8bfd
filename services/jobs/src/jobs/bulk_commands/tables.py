"""The table of bulk commands on jobs."""

from jobs.registry import Base
from shared.bulk import BulkRow, table_args


class JobCommandRow(Base, BulkRow, table=True):
    """A command for all jobs that match."""

    __tablename__ = "job_commands"
    __table_args__ = table_args("job_commands")
