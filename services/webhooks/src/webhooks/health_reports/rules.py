"""What the rows of an endpoint say of its health."""

from datetime import datetime, timedelta
from typing import Literal

from webhooks.endpoints import DisablePolicy

HealthState = Literal["healthy", "failing", "disabled", "idle"]


def health_state(*, enabled: bool, failing_since: datetime | None, deliveries: int) -> HealthState:
    """The state of an endpoint in one word; `idle` if nothing was sent to it lately."""
    if not enabled:
        return "disabled"
    if failing_since is not None:
        return "failing"
    return "healthy" if deliveries else "idle"


def disables_at(disable_policy: DisablePolicy, *, enabled: bool, failing_since: datetime | None) -> datetime | None:
    """When a failing endpoint is disabled unless an attempt succeeds before; None: it is not failing."""
    if not enabled or failing_since is None:
        return None
    return failing_since + timedelta(seconds=disable_policy.seconds)
