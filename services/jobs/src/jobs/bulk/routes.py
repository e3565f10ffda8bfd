"""HTTP route that creates many jobs."""

from fastapi import Request

from jobs import bulk
from jobs.bulk.schemas import BulkIn, BulkResult
from shared.api import CurrentCaller, Router, Transaction, body, requires
from shared.api.problems import request_id_of


def router(*, bytes_max: int) -> Router:
    """The route. `bytes_max` is the largest size of a body."""
    routes = Router(tags=["jobs"])

    @routes.post("/v1/jobs/bulk", status_code=207)
    @requires("orders.jobs.write", api_credentials=True)
    @body(bytes_max=bytes_max, by_parts=True)
    async def create_jobs(
        requested: BulkIn, session: Transaction, caller: CurrentCaller, request: Request
    ) -> BulkResult:
        """Create up to 200 jobs.

        Always 207: `results` has the result of each item in the order of the request, as `POST /v1/jobs` would answer. With `atomic`
        all items are created or none; items that could have been created then have 424. Of two items with the same reference the second
        has 409. An Idempotency-Key repeats the whole response; send items that failed temporarily (503) in a new request.
        """
        return await bulk.create(session, caller, requested, request_id_of(request))

    return routes
