"""HTTP route of a job's history."""

from jobs import history
from jobs.history.schemas import JobHistoryEntry
from shared.api import CurrentCaller, Page, PageRequest, Reading, Router, requires
from shared.ids import JobId


def router() -> Router:
    """The route of the changes of a job."""
    routes = Router(tags=["jobs"])

    @routes.get("/v1/jobs/{job_id}/events")
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def list_job_events(
        job_id: JobId, paging: PageRequest, session: Reading, caller: CurrentCaller
    ) -> Page[JobHistoryEntry]:
        """List a job's events, oldest first.

        Each has the actor, and the values before and after the change.
        """
        return await history.list_events(session, caller, job_id, paging)

    return routes
