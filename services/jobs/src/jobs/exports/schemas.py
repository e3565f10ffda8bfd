"""The parameters of an export."""

from pydantic import Field

from jobs.file_formats import Format
from jobs.search import JobFilters


class ExportQuery(JobFilters):
    """Which jobs are exported, and in which format."""

    format: Format = Field("csv", description="`csv`: one row per job. `ndjson`: one JSON document per line.")
