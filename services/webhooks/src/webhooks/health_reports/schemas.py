"""The health of endpoints and locations as the API shows it."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField

from webhooks.health_reports.rules import HealthState


class HealthFigures(BaseModel):
    """Deliveries of the last 24 hours, counted by the instant of their event."""

    deliveries: int = ApiField(description="Deliveries of the events of these hours.")
    delivered: int
    failed: int
    success_rate: float | None = ApiField(
        description="Part of the deliveries with a result that are delivered, 0 to 1; null without any."
    )
    latency_ms_p50: int | None
    latency_ms_p95: int | None
    deliveries_by_hour: list[int] = ApiField(description="Deliveries of each of the 24 hours, oldest first.")
    unsuccessful_by_hour: list[int] = ApiField(
        description="Those of each hour whose last attempt failed: given up, or waiting for a retry."
    )
    latency_ms_p95_by_hour: list[int | None] = ApiField(
        description="95th percentile of the latencies of each hour, in milliseconds."
    )
    is_partial: bool = ApiField(
        description="True if there are more deliveries than one request counts: the numbers cover a part."
    )


class EndpointHealth(HealthFigures):
    """The health of an endpoint."""

    endpoint_id: str
    state: HealthState = ApiField(
        description="`disabled`; `failing`: no success since `failing_since`; `healthy`; `idle`: no events in 24 hours."
    )
    failing_since: datetime | None
    failures: int = ApiField(description="Attempts that failed since the last success.")
    next_probe_at: datetime | None = ApiField(
        description="When an open circuit breaker lets the next attempt through; null, or an instant of the past: none is open."
    )
    disables_at: datetime | None = ApiField(
        description="When it is disabled unless an attempt succeeds before (and enough attempts have failed)."
    )
    waiting: int = ApiField(description="Deliveries that wait for an attempt now, counted up to 1,000.")
    oldest_due_seconds: float = ApiField(description="Seconds for which the oldest due delivery has been due.")


class LocationHealth(HealthFigures):
    """The health of the deliveries of a location's events."""

    location_id: str
    name: str
    active: bool
    endpoint_ids: list[str] = ApiField(description="Enabled endpoints that get its events; empty: nothing covers it.")


class WebhookLocation(BaseModel):
    """A location whose events endpoints can get."""

    object: Literal["webhook_location"] = "webhook_location"
    location_id: str
    name: str
    active: bool


class WebhookHealth(BaseModel):
    """The health of all endpoints and locations."""

    object: Literal["webhook_health"] = "webhook_health"
    since: datetime
    until: datetime
    endpoints: list[EndpointHealth] = ApiField(description="All endpoints, newest first.")
    locations: list[LocationHealth] = ApiField(description="All locations, by name.")
