"""Billing publishes on `billing.events.v1` (kept for ever). Key: the tenant's id; a tenant has one subscription."""

from datetime import datetime
from typing import ClassVar, Literal

from shared.events import Event, State

TOPIC = "billing.events.v1"
SOURCE = "waybill/billing"


class SubscriptionState(State):
    """A tenant's right to use the API, with all instants that a service needs to decide: see `shared.access.entitlement`."""

    tenant_id: str
    status: str
    """trialing | active | past_due | unpaid | canceled | expired"""
    plan: str | None = None
    trial_ends_at: datetime | None = None
    access_until: datetime | None = None
    """First instant without access; null: no end is known."""
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False
    features: dict[str, bool | int] = {}
    """What the plan includes: a feature that is on or off, or a limit."""
    clock_offset_seconds: float = 0.0
    """How far the tenant's test clock is ahead of the time; 0 for tenants without one."""


class BillingEvent(Event):
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE


class EntitlementEvent(BillingEvent):
    """An event after which every service decides 402 again."""

    data: SubscriptionState


class TrialStarted(EntitlementEvent):
    """The trial of a new tenant has begun."""

    type: Literal["trial.started"] = "trial.started"


class TrialExtended(EntitlementEvent):
    """The end of a trial was moved (later or earlier, also after it had passed)."""

    type: Literal["trial.extended"] = "trial.extended"


class TrialExpired(EntitlementEvent):
    """Published exactly once for each trial that ended without a subscription."""

    type: Literal["trial.expired"] = "trial.expired"


ACCESS_EVENTS: tuple[type[EntitlementEvent], ...] = (TrialStarted, TrialExtended, TrialExpired)
"""What every service applies to decide who may call."""
EVENTS: tuple[type[Event], ...] = ACCESS_EVENTS
