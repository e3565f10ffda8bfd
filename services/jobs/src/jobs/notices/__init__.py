"""Live notices of jobs and imports."""

from jobs.notices.operations import IMPORTS, JOBS, notices_of

__all__ = ["IMPORTS", "JOBS", "notices_of"]
