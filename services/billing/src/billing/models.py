"""Billing's tables, and what the API shows of them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from pydantic import Field as ApiField
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from billing.domain import STATUSES, Status, TimerKind
from billing.registry import Base
from shared.api import Input
from shared.postgres.tables import TypedId
from shared.timestamps import Timestamp

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


class AuditRow(Base, table=True):
    """Who changed what by hand, from where; written in the transaction of the change, never changed."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "tenant_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False))
    actor: str = Field(sa_column=Column(Text, nullable=False))
    address: str | None = Field(default=None, sa_column=Column(Text))
    action: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    before: dict[str, object] = Field(sa_column=Column(JSONB, nullable=False))
    after: dict[str, object] = Field(sa_column=Column(JSONB, nullable=False))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


# -- views -----------------------------------------------------------------------------------------------------------------


class Subscription(BaseModel):
    """A tenant's subscription. `entitled` is decided by the clock at the moment of the answer."""

    object: Literal["subscription"] = "subscription"
    id: str = ApiField(description="Id of the subscription.", examples=["sub_01h455vb4pex5vsknk084sn02q"])
    tenant_id: str = ApiField(description="The tenant: each has one.", examples=["ten_01h455vb4pex5vsknk084sn02q"])
    status: Status = ApiField(
        description="trialing, active and past_due entitle until `access_until`; the others never do."
    )
    plan: str | None = ApiField(description="The plan subscribed to; null while there is none.")
    trial_ends_at: datetime | None = ApiField(
        description="First instant after the trial; also kept when it has passed."
    )
    access_until: datetime | None = ApiField(
        description="First instant at which access is over; null: no end in sight."
    )
    current_period_end: datetime | None = ApiField(description="End of the period that is paid for.")
    cancel_at_period_end: bool = ApiField(description="Whether the subscription ends with the current period.")
    entitled: bool = ApiField(description="Whether the tenant may use the API now; false: 402 on what is not exempt.")
    livemode: bool = ApiField(description="False for a test tenant.")
    created_at: datetime = ApiField(description="When the tenant was made and its trial began.")
    updated_at: datetime = ApiField(description="Last change.")
    version: int = ApiField(description="Counts the changes, from 1.")

    @property
    def variant(self) -> str:
        """For the ETag: the clock alone changes `entitled`, without a new version."""
        return "entitled" if self.entitled else "ended"


class TrialExtension(Input):
    """Another end for a trial."""

    trial_ends_at: Timestamp = ApiField(
        description="Any instant in the future, later or earlier than the present end; after an expired trial it runs again."
    )
