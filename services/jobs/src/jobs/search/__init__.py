"""Lists and searches of jobs and actions."""

from jobs.search.operations import list_actions, list_jobs
from jobs.search.query import as_tsquery, name_begins_with
from jobs.search.schemas import JobFilters

__all__ = ["JobFilters", "as_tsquery", "list_actions", "list_jobs", "name_begins_with"]
