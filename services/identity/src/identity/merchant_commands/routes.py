"""Routes of bulk commands on merchants."""

from identity.merchant_commands import operations
from identity.merchant_commands.schemas import MerchantCommand, MerchantCommandIn
from shared import bulk
from shared.api import CurrentActor, CurrentCaller, Reading, Router, Transaction, requires
from shared.bulk import Bulk
from shared.ids import BulkCommandId


def router(of: Bulk) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["merchants"])

    @routes.post("/v1/merchant-commands", status_code=202)
    @requires("settings.merchants.api_access")
    async def command_merchants(
        wanted: MerchantCommandIn, session: Transaction, actor: CurrentActor
    ) -> MerchantCommand:
        """Grant or revoke the API access of all merchants that match.

        This happens in the background; poll the answer. It needs `settings.merchants.read` besides. Each merchant is changed as by its own
        route, with its events; what refuses the command is counted and named. Merchants that are created meanwhile are left out. With
        `dry_run` nothing is changed: the numbers say what would be.
        """
        return await operations.create(session, of, actor, wanted)

    @routes.get("/v1/merchant-commands/{command_id}")
    @requires("settings.merchants.api_access")
    async def get_merchant_command(
        command_id: BulkCommandId, session: Reading, caller: CurrentCaller
    ) -> MerchantCommand:
        """Read the progress of a command for many merchants.

        It needs `settings.merchants.read` besides.
        """
        return operations.view(await bulk.get(session, of, caller, command_id))

    @routes.post("/v1/merchant-commands/{command_id}/cancel")
    @requires("settings.merchants.api_access")
    async def cancel_merchant_command(
        command_id: BulkCommandId, session: Transaction, actor: CurrentActor
    ) -> MerchantCommand:
        """Stop a command for many merchants.

        What it has changed stays. It needs `settings.merchants.read` besides. 409 if it has completed or failed.
        """
        return operations.view(await bulk.cancel(session, of, actor, command_id))

    return routes
