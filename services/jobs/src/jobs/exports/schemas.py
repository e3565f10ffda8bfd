"""Which jobs are exported, and in which format."""

from typing import Literal

from pydantic import Field

from jobs.search import JobFilters


class ExportQuery(JobFilters):
    """Which jobs, in which form."""

    format: Literal["csv", "ndjson"] = Field(
        "csv", description="`csv`: one row a job; `ndjson`: one JSON document a line."
    )
