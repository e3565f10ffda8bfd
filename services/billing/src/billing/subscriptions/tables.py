"""The table of subscriptions."""

from sqlalchemy import CheckConstraint
from sqlmodel import Field

from billing.registry import Base
from billing.subscriptions.rules import STATUSES, Status
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
