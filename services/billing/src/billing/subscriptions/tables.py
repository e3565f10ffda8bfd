"""The table of subscriptions."""

from datetime import timedelta

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Interval, text
from sqlmodel import Field

from billing.registry import Base
from billing.subscriptions.terms import STATUSES, Status, TrialOutcome
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
        # Access without an end is for those alone who pay.
        CheckConstraint("access_until IS NOT NULL OR status IN ('active', 'past_due')", name="access_until"),
        CheckConstraint(
            "status NOT IN ('incomplete', 'active', 'past_due', 'unpaid')"
            " OR (plan_version IS NOT NULL AND current_period_end IS NOT NULL)",
            name="period",
        ),
        CheckConstraint("version >= 1", name="version"),
        ForeignKeyConstraint(["plan", "plan_version"], ["plans.code", "plans.version"]),
        ForeignKeyConstraint(["next_plan", "next_plan_version"], ["plans.code", "plans.version"]),
    )

    id: SubscriptionId = Field(primary_key=True)
    tenant_id: TenantId = Field(unique=True)
    livemode: bool
    status: Choice[Status]
    plan: Text | None = None
    plan_version: int | None = None
    next_plan: Text | None = None
    next_plan_version: int | None = None
    trial_ends_at: Instant | None = None
    trial_reminder_at: Instant | None = None
    trial_outcome: Choice[TrialOutcome] | None = None
    access_until: Instant | None = None
    anchor_at: Instant | None = None
    current_period_start: Instant | None = None
    current_period_end: Instant | None = None
    cancel_at_period_end: bool = False
    complimentary: bool = Field(False, sa_column_kwargs={"server_default": text("false")})
    by_charge: bool = Field(False, sa_column_kwargs={"server_default": text("false")})
    payment_pending: bool = Field(False, sa_column_kwargs={"server_default": text("false")})
    charging: bool = Field(False, sa_column_kwargs={"server_default": text("false")})
    method_needed: bool = Field(False, sa_column_kwargs={"server_default": text("false")})
    payment_due_at: Instant | None = None
    past_due_since: Instant | None = None
    retry_at: Instant | None = None
    clock_offset: timedelta = Field(timedelta(), sa_type=Interval, sa_column_kwargs={"server_default": text("'0'")})
    version: BigInt
    created_at: Instant
    updated_at: Instant
