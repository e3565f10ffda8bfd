"""The tables of subscriptions and their timers."""

from sqlalchemy import CheckConstraint, Index, PrimaryKeyConstraint
from sqlmodel import Field

from billing.registry import Base
from billing.subscriptions.rules import STATUSES, Status, TimerKind
from shared.id_columns import SubscriptionId, TenantId
from shared.postgres.column_types import BigInt, Choice, Instant, Text

_STATUS_LIST = ", ".join(f"'{status}'" for status in STATUSES)


class SubscriptionRow(Base, table=True):
    """The subscription of a tenant: exactly one, as long as the tenant exists."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUS_LIST})", name="status"),
        # Services that know only the clock decide by `access_until`, so it must hold the end of a trial.
        CheckConstraint(
            "status <> 'trialing' OR (trial_ends_at IS NOT NULL AND access_until = trial_ends_at)", name="trial_end"
        ),
        CheckConstraint("version >= 1", name="version"),
    )

    id: SubscriptionId = Field(primary_key=True)
    tenant_id: TenantId = Field(unique=True)
    livemode: bool
    status: Choice[Status]
    plan: Text | None = None
    trial_ends_at: Instant | None = None
    access_until: Instant | None = None
    current_period_end: Instant | None = None
    cancel_at_period_end: bool = False
    version: BigInt
    created_at: Instant
    updated_at: Instant


class TimerRow(Base, table=True):
    """A timer of a subscription: at most one of each kind, deleted when it has run."""

    __tablename__ = "timers"
    __table_args__ = (PrimaryKeyConstraint("tenant_id", "kind"), Index(None, "due_at"))

    tenant_id: TenantId = Field(foreign_key="subscriptions.tenant_id")
    kind: Choice[TimerKind]
    due_at: Instant
