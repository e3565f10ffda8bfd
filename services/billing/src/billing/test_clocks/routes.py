"""Routes of test clocks."""

from datetime import UTC, datetime

from billing import test_clocks
from billing.test_clocks.schemas import Advance, TestClock
from shared.api import CurrentActor, CurrentCaller, Reading, Router, Transaction, requires


def router() -> Router:
    """The routes, for the app to include."""
    routes = Router(tags=["billing"])

    @routes.get("/v1/billing/test-clock")
    @requires("billing.manage", exempt_from_402=True)
    async def get_test_clock(session: Reading, caller: CurrentCaller) -> TestClock:
        """Get the tenant's test clock."""
        return await test_clocks.get(session, caller.tenant_id, datetime.now(UTC))

    @routes.post("/v1/billing/test-clock")
    @requires("billing.manage", exempt_from_402=True)
    async def create_test_clock(session: Transaction, actor: CurrentActor) -> TestClock:
        """Give the test tenant a clock of its own."""
        return await test_clocks.create(session, actor, actor.caller.tenant_id, datetime.now(UTC))

    @routes.post("/v1/billing/test-clock/advance")
    @requires("billing.manage", exempt_from_402=True)
    async def advance_test_clock(advance: Advance, session: Transaction, actor: CurrentActor) -> TestClock:
        """Move the test clock forward, and do what becomes due on the way."""
        return await test_clocks.advance(session, actor, actor.caller.tenant_id, advance.to, datetime.now(UTC))

    return routes
