"""The route that hands a tenant over."""

from identity import ownership
from identity.authentication import Authenticator
from identity.ownership.schemas import Ownership, OwnershipIn
from shared.api import CurrentActor, Router, Transactions, owner_only


def router(authenticator: Authenticator) -> Router:
    """The route, for the app to include."""
    routes = Router(tags=["tenants"])

    @routes.post("/v1/tenant/transfer-ownership")
    @owner_only()
    async def transfer_ownership(body: OwnershipIn, transactions: Transactions, actor: CurrentActor) -> Ownership:
        """Hand the tenant over to another owner."""
        return await ownership.transfer(authenticator, transactions, actor, body)

    return routes
