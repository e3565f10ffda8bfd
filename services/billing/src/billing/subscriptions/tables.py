"""The tables of subscriptions and of their timers."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Text,
)
from sqlmodel import Field

from billing.registry import Base
from billing.subscriptions.rules import STATUSES, Status, TimerKind
from shared.postgres.tables import TypedId

_STATUS_LIST = ", ".join(f"'{status}'" for status in STATUSES)


class SubscriptionRow(Base, table=True):
    """A tenant's subscription: one each, for as long as the tenant exists."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUS_LIST})", name="status"),
        # Whoever decides by the clock alone must find the end of a trial in `access_until`.
        CheckConstraint(
            "status <> 'trialing' OR (trial_ends_at IS NOT NULL AND access_until = trial_ends_at)", name="trial_end"
        ),
        CheckConstraint("version >= 1", name="version"),
    )

    id: str = Field(sa_column=Column(TypedId("sub"), primary_key=True))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False, unique=True))
    livemode: bool = Field(sa_column=Column(Boolean, nullable=False))
    status: Status = Field(sa_column=Column(Text, nullable=False))
    plan: str | None = Field(default=None, sa_column=Column(Text))
    trial_ends_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    access_until: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    current_period_end: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    cancel_at_period_end: bool = Field(default=False, sa_column=Column(Boolean, nullable=False))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class TimerRow(Base, table=True):
    """Something to be done at an instant: at most one of a kind for each subscription, gone when it is done."""

    __tablename__ = "timers"
    __table_args__ = (PrimaryKeyConstraint("tenant_id", "kind"), Index(None, "due_at"))

    tenant_id: str = Field(sa_column=Column(TypedId("ten"), ForeignKey("subscriptions.tenant_id"), nullable=False))
    kind: TimerKind = Field(sa_column=Column(Text, nullable=False))
    due_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
