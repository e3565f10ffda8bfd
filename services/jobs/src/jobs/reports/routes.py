"""Reports about jobs."""

from typing import Annotated

from fastapi import Query

from jobs import reports
from jobs.reports.schemas import JobSummary, JobSummaryFilters
from shared.api import CurrentCaller, Reading, Router, requires


def router() -> Router:
    """The routes, for administrators alone."""
    routes = Router(tags=["reports"])

    @routes.get("/v1/reports/jobs/summary")
    @requires("reports.read")
    async def summarize_jobs(
        filters: Annotated[JobSummaryFilters, Query()], session: Reading, caller: CurrentCaller
    ) -> JobSummary:
        """Count jobs by status, type, location and day.

        Over a range of at most 366 days: of their creation (the last 30 days unless told otherwise), or of the days for which they
        are planned. Deleted jobs do not count.
        """
        return await reports.summarize_jobs(session, caller, filters)

    return routes
