"""Rows of endpoints."""

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    Text,
    text,
)
from sqlmodel import Field

from shared.postgres.tables import TypedId
from webhooks.registry import Base, instant_column


class EndpointRow(Base, table=True):
    """Where a tenant wants to hear of what. A deleted one stays as a tombstone without secrets, for its deliveries' sake."""

    __tablename__ = "endpoints"
    __table_args__ = (
        Index("ix_endpoints_tenant_id", "tenant_id", "id", postgresql_where=text("deleted_at IS NULL")),
        Index("ix_endpoints_updated_at", "updated_at"),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("deleted_at IS NOT NULL OR secret_sealed IS NOT NULL", name="secret"),
        CheckConstraint("rate_limit_per_second > 0", name="rate"),
        CheckConstraint("(previous_secret_sealed IS NULL) = (previous_secret_until IS NULL)", name="previous_secret"),
    )

    id: str = Field(sa_column=Column(TypedId("ep"), primary_key=True))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False))
    livemode: bool = Field(sa_column=Column(Boolean, nullable=False))
    url: str = Field(sa_column=Column(Text, nullable=False))
    description: str = Field(sa_column=Column(Text, nullable=False))
    event_types: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    location_ids: list[str] | None = Field(default=None, sa_column=Column(ARRAY(TypedId("loc"))))
    """None: all locations."""
    headers_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    secret_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    previous_secret_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """Signs as well until `previous_secret_until`; bound to the endpoint's id like the secret that replaced it."""
    previous_secret_until: datetime | None = Field(default=None, sa_column=instant_column())
    signing_key_sealed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """Seed of the ed25519 key for `v1a`, bound to `<id>/signing-key`; None: `v1` alone."""
    retry_schedule_seconds: list[float] | None = Field(default=None, sa_column=Column(ARRAY(Double)))
    """None: as the operator has set it."""
    rate_limit_per_second: float | None = Field(default=None, sa_column=Column(Double))
    ordered_by_job: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    enabled: bool = Field(sa_column=Column(Boolean, nullable=False))
    disabled_reason: str | None = Field(default=None, sa_column=Column(Text))
    disabled_at: datetime | None = Field(default=None, sa_column=instant_column())
    """While it is off: since when. The database sees to it, whoever switches."""
    failing_since: datetime | None = Field(default=None, sa_column=instant_column())
    """The first failure after the last success; written every few seconds at most, like the two that follow."""
    failures_since: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default=text("0")))
    warned_at: datetime | None = Field(default=None, sa_column=instant_column())
    created_by: str = Field(sa_column=Column(Text, nullable=False))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = Field(sa_column=instant_column(nullable=False))
    updated_at: datetime = Field(sa_column=instant_column(nullable=False))
    deleted_at: datetime | None = Field(default=None, sa_column=instant_column())
