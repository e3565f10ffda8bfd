"""Routes of bulk commands on jobs."""

from jobs.bulk_commands import operations
from jobs.bulk_commands.schemas import JobCommand, JobCommandIn
from shared import bulk
from shared.api import CurrentActor, CurrentCaller, Reading, Router, Transaction, requires
from shared.ids import BulkCommandId


def router() -> Router:
    """The routes."""
    routes = Router(tags=["dispatch"])

    @routes.post("/v1/job-commands", status_code=202)
    @requires("orders.jobs.read")
    async def command_jobs(wanted: JobCommandIn, session: Transaction, actor: CurrentActor) -> JobCommand:
        """Run a command on all jobs that match.

        This happens in the background; poll the answer. It needs the permission of the command, too: `orders.jobs.cancel`,
        `orders.jobs.delete`, or `orders.dispatch` for all others. Each job is changed as by its own route, with its events; what
        refuses the command is counted and named. Jobs that are created meanwhile are left out. With `dry_run` nothing is changed: the
        numbers say what would be.
        """
        return await operations.create(session, actor, wanted)

    @routes.get("/v1/job-commands/{command_id}")
    @requires("orders.jobs.read")
    async def get_job_command(command_id: BulkCommandId, session: Reading, caller: CurrentCaller) -> JobCommand:
        """Read the progress of a command for many jobs.

        It needs the permission of the command besides.
        """
        return operations.view(await bulk.get(session, operations.BULK, caller, command_id))

    @routes.post("/v1/job-commands/{command_id}/cancel")
    @requires("orders.jobs.read")
    async def cancel_job_command(command_id: BulkCommandId, session: Transaction, actor: CurrentActor) -> JobCommand:
        """Stop a command for many jobs.

        What it has changed stays. It needs the permission of the command besides. 409 if it has completed or failed.
        """
        return operations.view(await bulk.cancel(session, operations.BULK, actor, command_id))

    return routes
