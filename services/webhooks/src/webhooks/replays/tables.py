"""The table of replays."""

from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from shared.id_columns import EndpointId, ReplayId, TenantId
from shared.postgres.column_types import BigInt, Double, Instant, Json, Text, TextArray
from webhooks.registry import Base


class ReplayRow(Base, table=True):
    """A replay: events that are sent to an endpoint again, or for the first time. It continues where it stopped."""

    __tablename__ = "replays"
    __table_args__ = (
        Index("ix_replays_tenant", "tenant_id", "livemode", "id"),
        Index("ix_replays_endpoint", "endpoint_id", "id"),
        Index("ix_replays_status", "tenant_id", "livemode", "status", "id"),
        CheckConstraint("kind IN ('failed', 'missing', 'filter', 'deliveries')", name="kind"),
        CheckConstraint("endpoint_id IS NOT NULL OR kind = 'deliveries'", name="endpoint"),
        CheckConstraint("status IN ('running', 'completed', 'cancelled', 'failed')", name="status"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished"),
        CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failure"),
        CheckConstraint("since < until", name="range"),
        CheckConstraint("rate_per_second > 0", name="rate"),
    )

    id: ReplayId = Field(primary_key=True)
    tenant_id: TenantId
    livemode: bool
    endpoint_id: EndpointId | None = None
    """None: each delivery goes to its own endpoint."""
    kind: Text
    since: Instant
    until: Instant
    untried_since: Instant | None = None
    """Earlier events are sent only if they have a failed delivery. None: all events are treated alike."""
    event_types: TextArray | None = None
    """None: all event types of the endpoint."""
    deliveries: Json | None = None
    """`DeliveriesToReplay`: what the deliveries are asked for by, besides endpoint and time."""
    dry_run: bool
    rate_per_second: Double
    status: Text
    failure: Text | None = None
    after_position: BigInt = 0
    """Events are read in the order of their positions: those up to this one are done."""
    after_event_id: UUID = UUID(int=0)
    """Deliveries are read in the order of their event ids: those up to this one are done."""
    after_endpoint_id: UUID = Field(default=UUID(int=0), sa_column_kwargs={"server_default": text(f"'{UUID(int=0)}'")})
    """And of this event those up to this endpoint."""
    examined: BigInt = 0
    matched: BigInt = 0
    queued: BigInt = 0
    skipped: BigInt = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    progress: Double = 0.0
    created_by: Text
    version: BigInt
    created_at: Instant
    updated_at: Instant
    finished_at: Instant | None = None
