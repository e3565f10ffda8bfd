"""Webhooks' tables.

An event's body is stored once, as it will be sent. A delivery's row holds its last attempt; earlier ones move to `attempts` when the next
is recorded, so that a success with the first try is one insert. What waits has a row in `delivery_due`: its place in the queue and, while
a worker holds it, its lease (`due_at` is then the instant at which the lease ends). First attempts that went straight into a worker's
memory have no rows of their own before their result: one row in `flights` stands for all of a batch.
Events, deliveries and attempts lie in partitions by day (of the event's id); `webhooks.partitions` makes and drops them.
"""

import hashlib
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlmodel import Field

from shared.postgres.tables import TypedId
from webhooks.registry import Base, instant_column

_OPEN = text("status <> 'delivered'")


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


class EventRow(Base, table=True):
    """A fact as receivers get it, stored once for all of its deliveries. That its id is here means that it was fanned out."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_feed", "tenant_id", "livemode", "position"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    tenant_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    position: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Order of publication: the storing transaction's number × `POSITIONS_PER_TRANSACTION` + the place in its batch. A reader that takes
    only what lies below the oldest open transaction (`webhooks.fan_out.SETTLED`) sees no gap that is filled later."""
    occurred_at: datetime = Field(sa_column=instant_column(nullable=False))
    livemode: bool = Field(sa_column=Column(Boolean, nullable=False))
    type: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    location_ids: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
    traceparent: str | None = Field(default=None, sa_column=Column(Text))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


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


class DeliveryDueRow(Base, table=True):
    """The queue: narrow, and empty of everything that is finished or under way as part of a flight."""

    __tablename__ = "delivery_due"
    __table_args__ = (
        PrimaryKeyConstraint("event_id", "endpoint_id"),
        Index("ix_delivery_due_queue", "retry", "endpoint_id", "due_at"),
        Index(
            "ix_delivery_due_order", "endpoint_id", "subject", "position", postgresql_where=text("subject IS NOT NULL")
        ),
        CheckConstraint("lease_token > 0", name="lease_token"),
        CheckConstraint("(subject IS NULL) = (position IS NULL)", name="order"),
    )

    event_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    endpoint_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    due_at: datetime = Field(sa_column=instant_column(nullable=False))
    """Infinity: waits for an earlier one of its subject."""
    lease_token: int | None = Field(default=None, sa_column=Column(BigInteger))
    position: int | None = Field(default=None, sa_column=Column(BigInteger))
    attempts_before: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default=text("0")))
    """Attempts of earlier rounds: the schedule begins anew when a delivery is sent again."""
    retry: bool = Field(sa_column=Column(Boolean, nullable=False))
    subject: str | None = Field(default=None, sa_column=Column(Text))
    """Of endpoints that are ordered by job alone."""


class FlightRow(Base, table=True):
    """First attempts of one batch in one worker's memory: pairs of event and endpoint, until all of them are recorded."""

    __tablename__ = "flights"
    __table_args__ = (
        CheckConstraint("cardinality(event_ids) = cardinality(endpoint_ids)", name="pairs"),
        CheckConstraint("token > 0", name="token"),
    )

    token: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    lease_until: datetime = Field(sa_column=instant_column(nullable=False))
    event_ids: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
    endpoint_ids: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))


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


class AuditRow(Base, table=True):
    """Who changed an endpoint or looked at its secret; written in the same transaction, never changed."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "tenant_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False))
    actor: str = Field(sa_column=Column(Text, nullable=False))
    action: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = Field(sa_column=instant_column(nullable=False))


def made_at(time_ordered_id: UUID) -> datetime:
    """The instant inside a UUID of version 7."""
    return datetime.fromtimestamp((time_ordered_id.int >> 80) / 1000, UTC)


def first_id_at(instant: datetime) -> UUID:
    """The smallest UUID of that millisecond."""
    return UUID(int=max(0, int(instant.timestamp() * 1000)) << 80)


def first_id_of_day(instant: datetime, *, days_before: int = 0) -> UUID:
    """The smallest UUID of the day of this instant, in UTC, or of one so many days before."""
    day = int(instant.timestamp() // 86_400) - days_before
    return UUID(int=max(0, day) * 86_400_000 << 80)


def delivery_id(event_id: UUID, endpoint_id: UUID) -> UUID:
    """The public id of a delivery: of version 7, the event's millisecond, and a digest of the pair."""
    digest = int.from_bytes(hashlib.sha256(event_id.bytes + endpoint_id.bytes).digest()[:10])
    return UUID(int=event_id.int >> 80 << 80 | digest & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)
