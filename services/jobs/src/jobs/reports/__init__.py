"""Reports: counts of jobs."""

from jobs.reports.queries import summarize_jobs

__all__ = ["summarize_jobs"]
