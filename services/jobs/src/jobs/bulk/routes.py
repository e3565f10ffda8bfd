"""Many jobs in one request."""

from fastapi import Request

from jobs import bulk
from jobs.bulk.schemas import BulkIn, BulkResult
from shared.api import CurrentCaller, Router, Transaction, body, requires
from shared.api.problems import request_id_of


def router(*, bytes_max: int) -> Router:
    """The route. A request may have `bytes_max` bytes."""
    routes = Router(tags=["jobs"])

    @routes.post("/v1/jobs/bulk", status_code=207)
    @requires("orders.jobs.write", api_credentials=True)
    @body(bytes_max=bytes_max, by_parts=True)
    async def create_jobs(asked: BulkIn, session: Transaction, caller: CurrentCaller, request: Request) -> BulkResult:
        """Create up to 200 jobs.

        207 whatever becomes of them: `results` says it of each, in the order of the request, as the same job alone would have been
        answered. With `atomic` either all are created or none; those that could have been are then 424. Of two with the same reference the
        second is 409. An Idempotency-Key repeats the whole answer; what failed for a passing reason (503) needs a new request.
        """
        return await bulk.create(session, caller, asked, request_id_of(request))

    return routes
