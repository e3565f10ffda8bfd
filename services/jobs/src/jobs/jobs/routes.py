"""HTTP routes of jobs: create, get, update, delete, restore, clone."""

from fastapi import Request, Response

from jobs import jobs
from jobs.job_store import Job, JobIn
from jobs.jobs.schemas import JobPatch
from shared.access.principals import Caller
from shared.api import CurrentCaller, IdempotencyClaim, IfMatch, Router, Transaction, requires
from shared.api.group_commit import GroupCommit
from shared.api.grouping import GroupRead
from shared.api.problems import request_id_of
from shared.fields.merge_patch import merge_patch_body
from shared.ids import JobId


def router(creations: GroupCommit[JobIn], reads: GroupRead[tuple[Caller, str], Job]) -> Router:
    """The routes. Jobs that are requested at one moment are created by `creations` in one transaction, read by `reads` with one query."""
    routes = Router(tags=["jobs"])

    @routes.post("/v1/jobs", status_code=201, response_model=Job)
    @requires("orders.jobs.write", api_credentials=True)
    async def create_job(
        requested: JobIn, caller: CurrentCaller, claim: IdempotencyClaim, request: Request
    ) -> Response:
        """Create a job.

        A merchant's key creates jobs of the merchant; other callers name the merchant. 409 with `existing_id` if the merchant has
        another job with this `reference_id`.
        """
        return await creations.submit(caller, requested, claim, request_id_of(request))

    @routes.get("/v1/jobs/{job_id}")
    @requires("orders.jobs.read", api_credentials=True, merchant_session=True)
    async def get_job(job_id: JobId, caller: CurrentCaller) -> Job:
        """Read one job.

        404 if there is no job with this id, or if the caller may not see it.
        """
        return await reads.one((caller, job_id))

    @routes.patch("/v1/jobs/{job_id}", openapi_extra=merge_patch_body("JobPatch"))
    @requires("orders.jobs.write", api_credentials=True)
    async def patch_job(
        job_id: JobId, patch: JobPatch, session: Transaction, caller: CurrentCaller, if_match: IfMatch
    ) -> Job:
        """Change a job.

        A JSON Merge Patch (RFC 7396): omitted members stay, null removes, lists are replaced. All fields can change while the status is
        staging or new, `metadata` and `tags` while it is in_progress, and `metadata` in all others; else 409 `not_editable`. A null
        `location_id` sets the merchant's default location, a null `timezone` that of the location.
        """
        return await jobs.update(session, caller, job_id, patch, if_match)

    @routes.delete("/v1/jobs/{job_id}", status_code=204)
    @requires("orders.jobs.delete", api_credentials=True)
    async def delete_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> None:
        """Delete a job with its actions.

        Allowed while the status is staging, new or cancelled; else 409 `not_deletable`. It can be restored. 204 also if deleted before.
        """
        await jobs.delete(session, caller, job_id, if_match)

    @routes.post("/v1/jobs/{job_id}/restore")
    @requires("orders.jobs.delete", api_credentials=True)
    async def restore_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> Job:
        """Restore a deleted job.

        The actions that were deleted with it are restored, too. 409 `reference_id_taken` if another job has its reference now; 200 if
        it is not deleted.
        """
        return await jobs.restore(session, caller, job_id, if_match)

    @routes.post("/v1/jobs/{job_id}/clone", status_code=201, openapi_extra=merge_patch_body("JobPatch"))
    @requires("orders.jobs.write", api_credentials=True)
    async def clone_job(
        job_id: JobId, session: Transaction, caller: CurrentCaller, patch: JobPatch | None = None
    ) -> Job:
        """Create a copy of a job.

        The copy has the same content and actions, the status of a new job, and no reference. The body is a patch of the
        copy. 409 `job_erased` if the customer's personal data was erased.
        """
        return await jobs.clone(session, caller, job_id, patch)

    return routes
