"""The route of receipts."""

from identity import revocations
from identity.revocations.schemas import Revocation, RevocationLag
from shared.api import CurrentActor, Reading, Router, authenticated, requires
from shared.ids import RevocationId


def router(*, max_staleness_seconds: float) -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["revocations"])

    @routes.get("/v1/revocations/{revocation_id}")
    @authenticated(merchant_session=True, exempt_from_402=True)
    async def get_revocation(revocation_id: RevocationId, session: Reading, actor: CurrentActor) -> Revocation:
        """Get the receipt of a revocation of your own."""
        return await revocations.get(session, actor, revocation_id, max_staleness_seconds=max_staleness_seconds)

    @routes.get("/v1/revocation-lag")
    @requires("settings.merchants.read")
    async def get_revocation_lag(session: Reading, actor: CurrentActor) -> RevocationLag:
        """Read how long the tenant's latest revocations took until every service refused."""
        return await revocations.get_lag(session, actor, max_staleness_seconds=max_staleness_seconds)

    return routes
