"""What a test clock allows."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal

from shared.errors import Conflict, Forbidden, Invalid, NotFound, Violation

ClockStatus = Literal["ready", "advancing"]

ADVANCE_MAX = timedelta(days=800)
"""How far one advance may go: two years, with what comes after them."""
HEARD_WITHIN = timedelta(seconds=30)
"""A replica that runs reports every ten seconds."""
KEPT_FOR = timedelta(hours=1)
"""A replica that was silent for longer is forgotten."""


class TestClockNotFound(NotFound):
    """The tenant has no test clock."""

    code = "test_clock_not_found"

    def __init__(self) -> None:
        super().__init__("this tenant has no test clock: POST /v1/billing/test-clock makes it")


class OnlyTestTenants(Forbidden):
    """The tenant is a live one: its time is everybody's."""

    code = "test_clock_live_tenant"

    def __init__(self) -> None:
        super().__init__("only test tenants can have a clock of their own")


class StillAdvancing(Conflict):
    """The clock has not arrived yet."""

    code = "test_clock_advancing"

    def __init__(self) -> None:
        super().__init__("the clock is still advancing: wait until it is ready", current_status="advancing")


class ClockTarget(Invalid):
    """The clock can be moved forward only, and not too far at once."""

    code = "test_clock_target_refused"

    def __init__(self, now: datetime):
        expected = f"must be later than {now.isoformat()}, by {ADVANCE_MAX.days} days at most"
        super().__init__("the clock cannot be moved there", Violation("/to", self.code, expected))


def check_target(to: datetime, now: datetime) -> None:
    """Raises `ClockTarget` unless the clock, which shows `now`, may be moved to this instant."""
    if not now < to <= now + ADVANCE_MAX:
        raise ClockTarget(now)


def have_acknowledged(services: Collection[str], replicas: Collection[str]) -> bool:
    """Whether one of these replicas (`service/name`) is of each service."""
    return set(services) <= {replica.partition("/")[0] for replica in replicas}
