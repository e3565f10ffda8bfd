"""HTTP routes of the commands, and of the outcome of an action."""

from jobs import actions, lifecycle
from jobs.actions import OutcomeIn
from jobs.job_store import Action, Job
from jobs.lifecycle.schemas import Assignment, Reason
from shared.api import CurrentCaller, IfMatch, Router, Transaction, requires
from shared.ids import ActionId, JobId


def router() -> Router:
    """The commands accept, assign, start and cancel.

    409 with `allowed_transitions` if the job's status does not allow the command; 200 without a change if it has nothing to do.
    """
    routes = Router(tags=["dispatch"])

    @routes.post("/v1/jobs/{job_id}/accept")
    @requires("orders.dispatch")
    async def accept_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> Job:
        """Accept a job that waits for review.

        The status changes from staging to new. 409 with `allowed_transitions` in any other status; 200 if the status is new already.
        """
        return await lifecycle.run_command(session, caller, job_id, "accept", if_match)

    @routes.post("/v1/jobs/{job_id}/assign")
    @requires("orders.dispatch")
    async def assign_job(
        job_id: JobId, body: Assignment, session: Transaction, caller: CurrentCaller, if_match: IfMatch
    ) -> Job:
        """Assign a job.

        Allowed while the status is new or in_progress, any number of times; else 409.
        """
        return await lifecycle.assign(session, caller, job_id, body.assigned_to, if_match)

    @routes.post("/v1/jobs/{job_id}/start")
    @requires("orders.dispatch")
    async def start_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> Job:
        """Start a job.

        The status changes from new to in_progress. Now outcomes can be recorded, and only `metadata` and `tags` can be changed.
        """
        return await lifecycle.run_command(session, caller, job_id, "start", if_match)

    @routes.post("/v1/jobs/{job_id}/cancel")
    @requires("orders.jobs.cancel", api_credentials=True)
    async def cancel_job(
        job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch, reason: Reason | None = None
    ) -> Job:
        """Cancel a job.

        Allowed while the status is staging or new; while it is in_progress, only callers with `orders.dispatch` can cancel.
        """
        return await lifecycle.run_command(session, caller, job_id, "cancel", if_match, reason)

    return routes


def completion_router() -> Router:
    """The outcome of an action, and the commands complete, fail, report-damage and resolve."""
    routes = Router(tags=["dispatch"])

    @routes.post("/v1/jobs/{job_id}/actions/{action_id}/outcome")
    @requires("orders.dispatch")
    async def record_outcome(
        job_id: JobId,
        action_id: ActionId,
        outcome: OutcomeIn,
        session: Transaction,
        caller: CurrentCaller,
        if_match: IfMatch,
    ) -> Action:
        """Record the outcome of an action.

        Allowed while the job is in_progress. The sum of the three numbers is the action's quantity, else 422 `outcome_sum`. Another outcome
        replaces it; the same outcome again changes nothing.
        """
        return await actions.record_outcome(session, caller, job_id, action_id, outcome, if_match)

    @routes.post("/v1/jobs/{job_id}/complete")
    @requires("orders.dispatch")
    async def complete_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> Job:
        """Complete a job.

        All units of actions without an outcome become completed. The status becomes completed if all units are, partially_completed if
        some are; 409 `nothing_completed` if none is.
        """
        return await lifecycle.run_command(session, caller, job_id, "complete", if_match)

    @routes.post("/v1/jobs/{job_id}/fail")
    @requires("orders.dispatch")
    async def fail_job(
        job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch, reason: Reason | None = None
    ) -> Job:
        """Report that a job could not be done.

        The status changes from in_progress to incomplete. All units of actions without an outcome become incomplete.
        """
        return await lifecycle.run_command(session, caller, job_id, "fail", if_match, reason)

    @routes.post("/v1/jobs/{job_id}/report-damage")
    @requires("orders.dispatch")
    async def report_damage(
        job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch, reason: Reason | None = None
    ) -> Job:
        """Report damaged goods.

        The status changes from in_progress to damaged. All units of actions without an outcome become damaged.
        """
        return await lifecycle.run_command(session, caller, job_id, "report_damage", if_match, reason)

    @routes.post("/v1/jobs/{job_id}/resolve")
    @requires("orders.dispatch")
    async def resolve_job(
        job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch, reason: Reason | None = None
    ) -> Job:
        """Resolve a job that was not completed in full.

        The status changes from partially_completed, incomplete or damaged to resolved.
        """
        return await lifecycle.run_command(session, caller, job_id, "resolve", if_match, reason)

    return routes
