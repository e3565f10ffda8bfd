"""The parameters of an export."""

from typing import Literal

from pydantic import Field

from jobs.search import JobFilters


class ExportQuery(JobFilters):
    """Which jobs are exported, and in which format."""

    format: Literal["csv", "ndjson"] = Field(
        "csv", description="`csv`: one row per job. `ndjson`: one JSON document per line."
    )
