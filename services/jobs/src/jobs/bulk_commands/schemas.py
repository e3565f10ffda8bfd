"""Bulk commands as the API takes and shows them."""

from typing import Any, Literal

from pydantic import Field

from jobs.lifecycle import Reason
from jobs.search import JobFilters
from shared.bulk import BulkView
from shared.errors import Violation
from shared.fields.numbers import Flag

BulkJobCommand = Literal["accept", "start", "complete", "fail", "report_damage", "resolve", "cancel", "delete"]


class JobsToChange(JobFilters):
    """Which jobs: the filters of `GET /v1/jobs`. A job must match all conditions; without any, all jobs match."""

    sort: Literal["-created_at"] = Field("-created_at", description="The latest first.")
    deleted: Literal[False] = Field(False, description="Deleted jobs are left as they are.")

    def violation(self, name: str, code: str, message: str) -> Violation:
        """A violation of this member of the body."""
        return Violation(f"/filters/{name}", code, message)


class JobCommandIn(Reason):
    """A command for all jobs that match."""

    command: BulkJobCommand = Field(
        description="Runs on each job as the route of one job does. It is refused where that refuses it."
    )
    filters: JobsToChange = Field(description="Which jobs it runs on.")
    dry_run: Flag = Field(False, description="Count what would be changed and refused, and change nothing.")


class JobCommand(BulkView):
    """A command for all jobs that match, and its progress. It runs in the background."""

    object: Literal["job_command"] = "job_command"
    command: BulkJobCommand = Field(description="What is run on each job.")
    filters: dict[str, Any] = Field(description="The filters that were given.", examples=[{"status": ["new"]}])
    reason: str | None = Field(description="Stored as `status_reason` of each changed job.")
