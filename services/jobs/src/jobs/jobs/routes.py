"""HTTP routes of jobs: create, get, update, delete, restore, clone."""

from fastapi import Request, Response

from jobs import jobs
from jobs.fields import merge_patch_body
from jobs.job_store import Job, JobIn
from jobs.jobs.schemas import JobPatch
from shared.api import CurrentCaller, IdempotencyClaim, IfMatch, Reading, Router, Transaction, requires
from shared.api.group_commit import GroupCommit
from shared.api.problems import request_id_of
from shared.ids import JobId


def router(creations: GroupCommit[JobIn]) -> Router:
    """The routes. `creations` commits together the jobs that are created at one moment."""
    routes = Router(tags=["jobs"])

    @routes.post("/v1/jobs", status_code=201, response_model=Job)
    @requires("orders.jobs.write", api_credentials=True)
    async def create_job(asked: JobIn, caller: CurrentCaller, claim: IdempotencyClaim, request: Request) -> Response:
        """Create a job.

        A merchant's key creates for itself; others name the merchant. 409 with `existing_id` when the merchant already has a job
        with this `reference_id`.
        """
        return await creations.submit(caller, asked, claim, request_id_of(request))

    @routes.get("/v1/jobs/{job_id}")
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def get_job(job_id: JobId, session: Reading, caller: CurrentCaller) -> Job:
        """Read one job.

        404 when there is none with this id or when it is another merchant's.
        """
        return await jobs.get(session, caller, job_id)

    @routes.patch("/v1/jobs/{job_id}", openapi_extra=merge_patch_body("JobPatch"))
    @requires("orders.jobs.write", api_credentials=True)
    async def patch_job(
        job_id: JobId, patch: JobPatch, session: Transaction, caller: CurrentCaller, if_match: IfMatch
    ) -> Job:
        """Change a job.

        A JSON Merge Patch (RFC 7396): what is left out stays, null removes, lists are replaced. While the job is staging or new
        everything can change, in_progress metadata and tags, afterwards metadata; else 409 `not_editable`. A `location_id` of null
        means the merchant's default, a `timezone` of null the location's.
        """
        return await jobs.update(session, caller, job_id, patch, if_match)

    @routes.delete("/v1/jobs/{job_id}", status_code=204)
    @requires("orders.jobs.delete", api_credentials=True)
    async def delete_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> None:
        """Delete a job with its actions.

        While it is staging, new or cancelled; else 409 `not_deletable`. It can be restored. 204 also when it was deleted before.
        """
        await jobs.delete(session, caller, job_id, if_match)

    @routes.post("/v1/jobs/{job_id}/restore")
    @requires("orders.jobs.delete", api_credentials=True)
    async def restore_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> Job:
        """Restore a deleted job.

        With the actions that it had. 409 `reference_id_taken` when another job has its reference by now; 200 when it is not deleted.
        """
        return await jobs.restore(session, caller, job_id, if_match)

    @routes.post("/v1/jobs/{job_id}/clone", status_code=201, openapi_extra=merge_patch_body("JobPatch"))
    @requires("orders.jobs.write", api_credentials=True)
    async def clone_job(
        job_id: JobId, session: Transaction, caller: CurrentCaller, patch: JobPatch | None = None
    ) -> Job:
        """Create a job like this one.

        A new job with the same content and actions, in the status of a new one, and without the reference; what the body names is
        patched. 409 `job_erased` when the customer's personal data was erased.
        """
        return await jobs.clone(session, caller, job_id, patch)

    return routes
