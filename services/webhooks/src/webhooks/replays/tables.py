"""Rows of replays."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Boolean, CheckConstraint, Column, Double, Index, Text, Uuid, text
from sqlmodel import Field

from shared.postgres.tables import TypedId
from webhooks.registry import Base, instant_column


class ReplayRow(Base, table=True):
    """Events that are sent to an endpoint again, or for the first time: a job that goes on where it was left."""

    __tablename__ = "replays"
    __table_args__ = (
        Index("ix_replays_tenant", "tenant_id", "livemode", "id"),
        Index("ix_replays_endpoint", "endpoint_id", "id"),
        Index("ix_replays_status", "tenant_id", "livemode", "status", "id"),
        Index("ix_replays_running", "next_step_at", postgresql_where=text("status = 'running'")),
        CheckConstraint("kind IN ('failed', 'missing', 'filter')", name="kind"),
        CheckConstraint("status IN ('running', 'completed', 'cancelled', 'failed')", name="status"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished"),
        CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failure"),
        CheckConstraint("since < until", name="range"),
        CheckConstraint("rate_per_second > 0", name="rate"),
    )

    id: str = Field(sa_column=Column(TypedId("rpl"), primary_key=True))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False))
    livemode: bool = Field(sa_column=Column(Boolean, nullable=False))
    endpoint_id: str = Field(sa_column=Column(TypedId("ep"), nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    since: datetime = Field(sa_column=instant_column(nullable=False))
    until: datetime = Field(sa_column=instant_column(nullable=False))
    untried_since: datetime | None = Field(default=None, sa_column=instant_column())
    """Events from before are sent only if they had a delivery that was given up; None: no such difference."""
    event_types: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    """None: all that the endpoint wants."""
    dry_run: bool = Field(sa_column=Column(Boolean, nullable=False))
    rate_per_second: float = Field(sa_column=Column(Double, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    failure: str | None = Field(default=None, sa_column=Column(Text))
    after_position: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    """Events are looked at in the order of their positions: those up to this one are done."""
    after_event_id: UUID = Field(default=UUID(int=0), sa_column=Column(Uuid, nullable=False))
    """Failed deliveries are looked at in the order of their events' ids: those up to this one are done."""
    next_step_at: datetime = Field(sa_column=instant_column(nullable=False))
    examined: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    matched: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    queued: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    progress: float = Field(default=0.0, sa_column=Column(Double, nullable=False))
    created_by: str = Field(sa_column=Column(Text, nullable=False))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = Field(sa_column=instant_column(nullable=False))
    updated_at: datetime = Field(sa_column=instant_column(nullable=False))
    finished_at: datetime | None = Field(default=None, sa_column=instant_column())
