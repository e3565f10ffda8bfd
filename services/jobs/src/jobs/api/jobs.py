"""Jobs: create, list, read."""

from typing import Annotated

from fastapi import Query, Request, Response

from jobs import jobs, searches
from jobs.models.filters import JobFilters
from jobs.models.inputs import Job, JobIn
from shared.http import CurrentCaller, IdempotencyClaim, Page, PageRequest, Reading, Router, requires
from shared.http.grouping import GroupCommit
from shared.http.problems import request_id_of
from shared.ids import JobId


def router(creations: GroupCommit[jobs.Order]) -> Router:
    """The routes. Jobs that are created at one moment are committed together by `creations`."""
    routes = Router(tags=["jobs"])

    @routes.post("/v1/jobs", status_code=201, response_model=Job)
    @requires("orders.jobs.write", merchant_pair=True)
    async def create_job(asked: JobIn, caller: CurrentCaller, claim: IdempotencyClaim, request: Request) -> Response:
        """Create a job.

        A merchant's key creates for itself; others name the merchant. 409 with `existing_id` when the merchant already has a job
        with this `reference_id`.
        """
        return await creations.submit(jobs.Order(caller, asked), claim, request_id_of(request))

    @routes.get("/v1/jobs")
    @requires("orders.jobs.read", merchant_pair=True, merchant_session=True)
    async def list_jobs(
        filters: Annotated[JobFilters, Query()], paging: PageRequest, session: Reading, caller: CurrentCaller
    ) -> Page[Job]:
        """List jobs, newest first.

        Merchants see their own.
        """
        return await searches.listing(session, caller, filters, paging)

    @routes.get("/v1/jobs/{job_id}")
    @requires("orders.jobs.read", merchant_pair=True, merchant_session=True)
    async def get_job(job_id: JobId, session: Reading, caller: CurrentCaller) -> Job:
        """Read one job.

        404 when there is none with this id or when it is another merchant's.
        """
        return await jobs.get(session, caller, job_id)

    return routes
