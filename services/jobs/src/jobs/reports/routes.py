"""HTTP routes of reports."""

from typing import Annotated

from fastapi import Query

from jobs import reports
from jobs.reports.schemas import JobSummary, JobSummaryFilters
from shared.api import CurrentCaller, Reading, Router, requires


def router() -> Router:
    """The routes; only for administrators."""
    routes = Router(tags=["reports"])

    @routes.get("/v1/reports/jobs/summary")
    @requires("reports.read")
    async def summarize_jobs(
        filters: Annotated[JobSummaryFilters, Query()], session: Reading, caller: CurrentCaller
    ) -> JobSummary:
        """Count jobs by status, type, location and day.

        The range has at most 366 days, of creation instants (by default the last 30 days) or of scheduled dates. Deleted jobs do not
        count.
        """
        return await reports.summarize_jobs(session, caller, filters)

    return routes
