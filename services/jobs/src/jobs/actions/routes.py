"""HTTP routes of the actions of a job."""

from jobs import actions
from jobs.actions.schemas import ActionPatch
from jobs.job_store import Action, ActionIn
from shared.api import CurrentCaller, IfMatch, Page, PageRequest, Reading, Router, Transaction, requires
from shared.fields.merge_patch import merge_patch_body
from shared.ids import ActionId, JobId


def router() -> Router:
    """The routes. An action has its own version: `ETag` and `If-Match` are those of the action, not of the job."""
    routes = Router(tags=["actions"])

    @routes.get("/v1/jobs/{job_id}/actions")
    @requires("orders.actions.read", api_credentials=True, merchant_session=True)
    async def list_job_actions(
        job_id: JobId, paging: PageRequest, session: Reading, caller: CurrentCaller
    ) -> Page[Action]:
        """List the actions of a job.

        They are in the order of their positions. The job itself also contains all of them.
        """
        return await actions.list_actions(session, caller, job_id, paging)

    @routes.post("/v1/jobs/{job_id}/actions", status_code=201)
    @requires("orders.actions.write", api_credentials=True)
    async def add_action(job_id: JobId, requested: ActionIn, session: Transaction, caller: CurrentCaller) -> Action:
        """Add an action to a job.

        Allowed while the status of the job is staging or new, up to 500 actions. Without a position the action becomes the last one.
        """
        return await actions.create(session, caller, job_id, requested)

    @routes.get("/v1/jobs/{job_id}/actions/{action_id}")
    @requires("orders.actions.read", api_credentials=True, merchant_session=True)
    async def get_action(job_id: JobId, action_id: ActionId, session: Reading, caller: CurrentCaller) -> Action:
        """Read one action.

        404 if the job has no action with this id.
        """
        return await actions.get(session, caller, job_id, action_id)

    @routes.patch("/v1/jobs/{job_id}/actions/{action_id}", openapi_extra=merge_patch_body("ActionPatch"))
    @requires("orders.actions.write", api_credentials=True)
    async def patch_action(
        job_id: JobId,
        action_id: ActionId,
        patch: ActionPatch,
        session: Transaction,
        caller: CurrentCaller,
        if_match: IfMatch,
    ) -> Action:
        """Change an action.

        A JSON Merge Patch (RFC 7396): omitted members stay, null removes. Allowed while the status of the job is staging or new.
        """
        return await actions.update(session, caller, job_id, action_id, patch, if_match)

    @routes.delete("/v1/jobs/{job_id}/actions/{action_id}", status_code=204)
    @requires("orders.actions.delete", api_credentials=True)
    async def delete_action(
        job_id: JobId, action_id: ActionId, session: Transaction, caller: CurrentCaller, if_match: IfMatch
    ) -> None:
        """Delete an action.

        Allowed while the status of the job is staging or new. 204 also if it is deleted already.
        """
        await actions.delete(session, caller, job_id, action_id, if_match)

    return routes
