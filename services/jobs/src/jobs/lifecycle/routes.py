"""HTTP routes of the commands, and of the outcome of an action."""

from jobs import actions, lifecycle
from jobs.actions import OutcomeIn
from jobs.job_store import Job
from jobs.lifecycle.schemas import Assignment, Reason
from shared.api import CurrentCaller, IfMatch, Router, Transaction, requires
from shared.events.jobs import ActionState
from shared.ids import ActionId, JobId


def router() -> Router:
    """The routes by which a job goes on.

    A command that the job's status does not allow is 409 and says what is allowed; one whose work is done is 200.
    """
    routes = Router(tags=["dispatch"])

    @routes.post("/v1/jobs/{job_id}/accept")
    @requires("orders.dispatch")
    async def accept_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> Job:
        """Accept a job that waits for review.

        From staging to new. 409 with `allowed_transitions` in any other status; 200 when it is new already.
        """
        return await lifecycle.run_command(session, caller, job_id, "accept", if_match)

    @routes.post("/v1/jobs/{job_id}/assign")
    @requires("orders.dispatch")
    async def assign_job(
        job_id: JobId, body: Assignment, session: Transaction, caller: CurrentCaller, if_match: IfMatch
    ) -> Job:
        """Say who carries a job out.

        While it is new or in_progress, as often as it changes; 409 afterwards.
        """
        return await lifecycle.assign(session, caller, job_id, body.assigned_to, if_match)

    @routes.post("/v1/jobs/{job_id}/start")
    @requires("orders.dispatch")
    async def start_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> Job:
        """Start a job.

        From new to in_progress: from here on outcomes are recorded, and only metadata and tags can be edited.
        """
        return await lifecycle.run_command(session, caller, job_id, "start", if_match)

    @routes.post("/v1/jobs/{job_id}/cancel")
    @requires("orders.jobs.cancel", api_credentials=True)
    async def cancel_job(
        job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch, given: Reason | None = None
    ) -> Job:
        """Cancel a job.

        While it is staging or new; while it is in_progress only callers with `orders.dispatch` can.
        """
        return await lifecycle.run_command(session, caller, job_id, "cancel", if_match, given)

    return routes


def ending_router() -> Router:
    """The routes by which a job comes to its end, and the outcomes of its actions before."""
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
    ) -> ActionState:
        """Record what became of an action.

        While the job is in_progress. The three counters add up to the action's quantity, else 422 `outcome_sum`. It can be corrected by
        recording another; the same again changes nothing.
        """
        return await actions.record_outcome(session, caller, job_id, action_id, outcome, if_match)

    @routes.post("/v1/jobs/{job_id}/complete")
    @requires("orders.dispatch")
    async def complete_job(job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch) -> Job:
        """Complete a job.

        Actions without an outcome become completed in full. The job is completed when all units are, partially_completed when some are;
        409 `nothing_completed` when none is.
        """
        return await lifecycle.run_command(session, caller, job_id, "complete", if_match)

    @routes.post("/v1/jobs/{job_id}/fail")
    @requires("orders.dispatch")
    async def fail_job(
        job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch, given: Reason | None = None
    ) -> Job:
        """Say that a job could not be done.

        From in_progress to incomplete; actions without an outcome become incomplete in full.
        """
        return await lifecycle.run_command(session, caller, job_id, "fail", if_match, given)

    @routes.post("/v1/jobs/{job_id}/report-damage")
    @requires("orders.dispatch")
    async def report_damage(
        job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch, given: Reason | None = None
    ) -> Job:
        """Say that goods were damaged.

        From in_progress to damaged; actions without an outcome become damaged in full.
        """
        return await lifecycle.run_command(session, caller, job_id, "report_damage", if_match, given)

    @routes.post("/v1/jobs/{job_id}/resolve")
    @requires("orders.dispatch")
    async def resolve_job(
        job_id: JobId, session: Transaction, caller: CurrentCaller, if_match: IfMatch, given: Reason | None = None
    ) -> Job:
        """Close a job that did not end well.

        From partially_completed, incomplete or damaged to resolved.
        """
        return await lifecycle.run_command(session, caller, job_id, "resolve", if_match, given)

    return routes
