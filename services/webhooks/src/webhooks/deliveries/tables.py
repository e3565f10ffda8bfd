"""Tables of deliveries and attempts.

The row of a delivery holds its last attempt. An earlier attempt moves to `attempts` when the next one is recorded, so a delivery that
succeeds at once costs one insert.
"""

from sqlalchemy import CheckConstraint, Index, PrimaryKeyConstraint, text
from sqlmodel import Field

from shared.id_columns import EndpointId, EventId, TenantId
from shared.postgres.column_types import Choice, Instant, SmallInt, Text
from webhooks.deliveries.rules import Failure
from webhooks.deliveries.schemas import DeliveryStatus
from webhooks.http_client import Cause, CauseDetail
from webhooks.registry import Base

_OPEN = text("status <> 'delivered'")
_FAILED = text("cause IS NOT NULL")


class DeliveryRow(Base, table=True):
    """One event for one endpoint, with the last attempt."""

    __tablename__ = "deliveries"
    __table_args__ = (
        # In this order it also serves the list of deliveries of an endpoint.
        PrimaryKeyConstraint("endpoint_id", "event_id"),
        Index("ix_deliveries_tenant", "tenant_id", "livemode", "event_id"),
        # A delivery that succeeds at once never enters these four indexes.
        Index("ix_deliveries_open", "tenant_id", "livemode", "status", "event_id", postgresql_where=_OPEN),
        Index("ix_deliveries_endpoint_open", "endpoint_id", "status", "event_id", postgresql_where=_OPEN),
        Index("ix_deliveries_cause", "tenant_id", "livemode", "cause", "event_id", postgresql_where=_FAILED),
        Index("ix_deliveries_endpoint_cause", "endpoint_id", "cause", "event_id", postgresql_where=_FAILED),
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="finished"),
        CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failure"),
        {"postgresql_partition_by": "RANGE (event_id)"},
    )

    event_id: EventId
    endpoint_id: EndpointId
    tenant_id: TenantId
    started_at: Instant | None = None
    finished_at: Instant | None = None
    next_attempt_at: Instant | None = None
    latency_ms: int | None = None
    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None
    attempts_made: SmallInt = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    response_status: SmallInt | None = None
    livemode: bool
    status: Choice[DeliveryStatus]
    event_type: Text
    cause: Choice[Cause] | None = None
    cause_detail: Choice[CauseDetail] | None = None
    failure: Choice[Failure] | None = None
    response_body: Text | None = None


class AttemptRow(Base, table=True):
    """An attempt before the last one of its delivery."""

    __tablename__ = "attempts"
    __table_args__ = (
        PrimaryKeyConstraint("event_id", "endpoint_id", "number"),
        {"postgresql_partition_by": "RANGE (event_id)"},
    )

    event_id: EventId
    endpoint_id: EndpointId
    started_at: Instant
    latency_ms: int
    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None
    number: SmallInt
    response_status: SmallInt | None = None
    cause: Choice[Cause] | None = None
    cause_detail: Choice[CauseDetail] | None = None
    response_body: Text | None = None
