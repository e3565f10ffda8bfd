"""Rows of deliveries and attempts.

A delivery's row holds its last attempt; the earlier ones move to `attempts` when the next is recorded, so that a success with the first
attempt is one insert.
"""

from datetime import datetime

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, PrimaryKeyConstraint, SmallInteger, Text, text
from sqlmodel import Field

from shared.postgres.tables import TypedId
from webhooks.registry import Base, instant_column

_OPEN = text("status <> 'delivered'")


class DeliveryRow(Base, table=True):
    """One event for one endpoint, with its last attempt."""

    __tablename__ = "deliveries"
    __table_args__ = (
        # In this order it serves the list of an endpoint's deliveries, too.
        PrimaryKeyConstraint("endpoint_id", "event_id"),
        Index("ix_deliveries_tenant", "tenant_id", "livemode", "event_id"),
        # A delivery that succeeds with the first try never enters these two.
        Index("ix_deliveries_open", "tenant_id", "livemode", "status", "event_id", postgresql_where=_OPEN),
        Index("ix_deliveries_endpoint_open", "endpoint_id", "status", "event_id", postgresql_where=_OPEN),
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="finished"),
        CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failure"),
        {"postgresql_partition_by": "RANGE (event_id)"},
    )

    event_id: str = Field(sa_column=Column(TypedId("evt"), nullable=False))
    endpoint_id: str = Field(sa_column=Column(TypedId("ep"), nullable=False))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False))
    started_at: datetime | None = Field(default=None, sa_column=instant_column())
    finished_at: datetime | None = Field(default=None, sa_column=instant_column())
    next_attempt_at: datetime | None = Field(default=None, sa_column=instant_column())
    latency_ms: int | None = Field(default=None, sa_column=Column(Integer))
    dns_ms: int | None = Field(default=None, sa_column=Column(Integer))
    connect_ms: int | None = Field(default=None, sa_column=Column(Integer))
    tls_ms: int | None = Field(default=None, sa_column=Column(Integer))
    first_byte_ms: int | None = Field(default=None, sa_column=Column(Integer))
    attempts_made: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default=text("0")))
    response_status: int | None = Field(default=None, sa_column=Column(SmallInteger))
    livemode: bool = Field(sa_column=Column(Boolean, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    event_type: str = Field(sa_column=Column(Text, nullable=False))
    cause: str | None = Field(default=None, sa_column=Column(Text))
    failure: str | None = Field(default=None, sa_column=Column(Text))
    response_body: str | None = Field(default=None, sa_column=Column(Text))


class AttemptRow(Base, table=True):
    """An attempt that was not the last of its delivery."""

    __tablename__ = "attempts"
    __table_args__ = (
        PrimaryKeyConstraint("event_id", "endpoint_id", "number"),
        {"postgresql_partition_by": "RANGE (event_id)"},
    )

    event_id: str = Field(sa_column=Column(TypedId("evt"), nullable=False))
    endpoint_id: str = Field(sa_column=Column(TypedId("ep"), nullable=False))
    started_at: datetime = Field(sa_column=instant_column(nullable=False))
    latency_ms: int = Field(sa_column=Column(Integer, nullable=False))
    dns_ms: int | None = Field(default=None, sa_column=Column(Integer))
    connect_ms: int | None = Field(default=None, sa_column=Column(Integer))
    tls_ms: int | None = Field(default=None, sa_column=Column(Integer))
    first_byte_ms: int | None = Field(default=None, sa_column=Column(Integer))
    number: int = Field(sa_column=Column(SmallInteger, nullable=False))
    response_status: int | None = Field(default=None, sa_column=Column(SmallInteger))
    cause: str | None = Field(default=None, sa_column=Column(Text))
    response_body: str | None = Field(default=None, sa_column=Column(Text))
