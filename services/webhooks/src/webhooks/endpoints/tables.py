"""The table of endpoints."""

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from shared.id_columns import EndpointId, LocationIdArray, TenantId
from shared.postgres.column_types import BigInt, Double, DoubleArray, Instant, Text, TextArray
from webhooks.registry import Base


class EndpointRow(Base, table=True):
    """A URL of a tenant and the events that it receives. A deleted endpoint stays without secrets, because deliveries refer to it."""

    __tablename__ = "endpoints"
    __table_args__ = (
        Index("ix_endpoints_tenant_id", "tenant_id", "id", postgresql_where=text("deleted_at IS NULL")),
        Index("ix_endpoints_updated_at", "updated_at"),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("deleted_at IS NOT NULL OR secret_sealed IS NOT NULL", name="secret"),
        CheckConstraint("rate_limit_per_second > 0", name="rate"),
        CheckConstraint("(previous_secret_sealed IS NULL) = (previous_secret_until IS NULL)", name="previous_secret"),
    )

    id: EndpointId = Field(primary_key=True)
    tenant_id: TenantId
    livemode: bool
    url: Text
    description: Text
    event_types: TextArray
    location_ids: LocationIdArray | None = None
    """None: all locations."""
    headers_sealed: bytes | None = None
    secret_sealed: bytes | None = None
    previous_secret_sealed: bytes | None = None
    """Also signs until `previous_secret_until`; encrypted with the endpoint id as context, like the present secret."""
    previous_secret_until: Instant | None = None
    signing_key_sealed: bytes | None = None
    """Seed of the ed25519 key for `v1a`, encrypted with the context `<id>/signing-key`. None: `v1` only."""
    retry_schedule_seconds: DoubleArray | None = None
    """None: the setting of the installation."""
    rate_limit_per_second: Double | None = None
    ordered_by_job: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    enabled: bool
    disabled_reason: Text | None = None
    disabled_at: Instant | None = None
    """Since when the endpoint is disabled. A trigger sets it."""
    failing_since: Instant | None = None
    """The first failure after the last success. This column and the next three are written every few seconds at most."""
    failures_since: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    warned_at: Instant | None = None
    next_probe_at: Instant | None = None
    """When the circuit breaker that is open for the longest lets a probe through; None, or long past: none is open."""
    created_by: Text
    version: BigInt
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | None = None
