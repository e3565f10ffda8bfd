"""Webhooks' tables, and what the API shows of them.

An event's body is stored once, as it will be sent. A delivery has a row in `delivery_due` for as long as it is not finished: that row is
its place in the queue and, while a worker holds it, its lease (`due_at` is then the instant at which the lease ends).
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, WithJsonSchema
from pydantic import Field as ApiField
from pydantic_core import PydanticCustomError
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from shared.database import NAMING
from shared.http import Input, Secret
from shared.ids import LocationId, TypedId
from shared.migrations import add_plumbing_tables
from webhooks.domain.endpoints import URL_LENGTH_MAX
from webhooks.domain.matching import EVERYTHING, is_pattern

EVENT_TYPES_MAX = 50
LOCATIONS_MAX = 1000
DESCRIPTION_LENGTH_MAX = 500


def _instant(*, nullable: bool = True) -> Column[Any]:
    return Column(DateTime(timezone=True), nullable=nullable)


class Base(SQLModel, registry=registry(metadata=MetaData(naming_convention=NAMING))):
    """Webhooks' tables have a metadata of their own; SQLModel's default is shared by everything in a process."""


class EndpointRow(Base, table=True):
    """Where a tenant wants to hear of what. A deleted one stays as a tombstone without secrets, for its deliveries' sake."""

    __tablename__ = "endpoints"
    __table_args__ = (
        Index("ix_endpoints_tenant_id", "tenant_id", "id", postgresql_where=text("deleted_at IS NULL")),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("deleted_at IS NOT NULL OR secret_sealed IS NOT NULL", name="secret"),
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
    enabled: bool = Field(sa_column=Column(Boolean, nullable=False))
    disabled_reason: str | None = Field(default=None, sa_column=Column(Text))
    created_by: str = Field(sa_column=Column(Text, nullable=False))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = Field(sa_column=_instant(nullable=False))
    updated_at: datetime = Field(sa_column=_instant(nullable=False))
    deleted_at: datetime | None = Field(default=None, sa_column=_instant())


class EventRow(Base, table=True):
    """A fact as receivers get it, stored once for all of its deliveries."""

    __tablename__ = "events"

    id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    tenant_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    livemode: bool = Field(sa_column=Column(Boolean, nullable=False))
    type: str = Field(sa_column=Column(Text, nullable=False))
    location_ids: list[UUID] = Field(sa_column=Column(ARRAY(Uuid), nullable=False))
    occurred_at: datetime = Field(sa_column=_instant(nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    traceparent: str | None = Field(default=None, sa_column=Column(Text))


class DeliveryRow(Base, table=True):
    """One event for one endpoint. Its id is time-ordered and carries the instant at which it was made.

    No index names a column that a success changes, so that recording one stays a cheap update in place.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        Index(None, "tenant_id", "id"),
        Index(None, "endpoint_id", "id"),
        Index("ix_deliveries_failed", "tenant_id", "id", postgresql_where=text("failed_at IS NOT NULL")),
        CheckConstraint("delivered_at IS NULL OR failed_at IS NULL", name="one_end"),
        CheckConstraint("(failed_at IS NULL) = (failure IS NULL)", name="failure"),
    )

    id: str = Field(sa_column=Column(TypedId("dlv"), primary_key=True))
    event_id: str = Field(sa_column=Column(TypedId("evt"), nullable=False))
    endpoint_id: str = Field(sa_column=Column(TypedId("ep"), nullable=False))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False))
    livemode: bool = Field(sa_column=Column(Boolean, nullable=False))
    event_type: str = Field(sa_column=Column(Text, nullable=False))
    attempts_made: int = Field(sa_column=Column(SmallInteger, nullable=False, server_default=text("0")))
    response_status: int | None = Field(default=None, sa_column=Column(SmallInteger))
    cause: str | None = Field(default=None, sa_column=Column(Text))
    next_attempt_at: datetime | None = Field(default=None, sa_column=_instant())
    updated_at: datetime | None = Field(default=None, sa_column=_instant())
    delivered_at: datetime | None = Field(default=None, sa_column=_instant())
    failed_at: datetime | None = Field(default=None, sa_column=_instant())
    failure: str | None = Field(default=None, sa_column=Column(Text))


class DeliveryDueRow(Base, table=True):
    """The queue: narrow, and empty of everything that is finished."""

    __tablename__ = "delivery_due"
    __table_args__ = (
        Index(None, "retry", "endpoint_id", "due_at"),
        CheckConstraint("lease_token IS NULL OR lease_token > 0", name="lease_token"),
    )

    delivery_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    endpoint_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    due_at: datetime = Field(sa_column=_instant(nullable=False))
    lease_token: int | None = Field(default=None, sa_column=Column(BigInteger))
    retry: bool = Field(sa_column=Column(Boolean, nullable=False))


class AttemptRow(Base, table=True):
    """One request that was made for a delivery, and what came of it."""

    __tablename__ = "attempts"
    __table_args__ = (PrimaryKeyConstraint("delivery_id", "number"),)

    delivery_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    number: int = Field(sa_column=Column(SmallInteger, nullable=False))
    started_at: datetime = Field(sa_column=_instant(nullable=False))
    latency_ms: int = Field(sa_column=Column(Integer, nullable=False))
    response_status: int | None = Field(default=None, sa_column=Column(SmallInteger))
    cause: str | None = Field(default=None, sa_column=Column(Text))
    response_body: str | None = Field(default=None, sa_column=Column(Text))


class AuditRow(Base, table=True):
    """Who changed an endpoint or looked at its secret; written in the same transaction, never changed."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "tenant_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    tenant_id: str = Field(sa_column=Column(TypedId("ten"), nullable=False))
    actor: str = Field(sa_column=Column(Text, nullable=False))
    action: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = Field(sa_column=_instant(nullable=False))


add_plumbing_tables(Base.metadata)


# -- views -------------------------------------------------------------------------------------------------------------


def _check_pattern(value: object) -> object:
    if isinstance(value, str) and not is_pattern(value):
        raise PydanticCustomError(
            "event_type_form", "expected a type such as job.created, a prefix such as job.*, or *"
        )
    return value


def _read_locations(value: object) -> object:
    """`"*"` is None from here on; null itself is refused, so that nobody subscribes to everything by leaving something out."""
    if value is None:
        raise PydanticCustomError("locations_missing", 'expected a list of location ids, or "*" for all')
    return None if value == EVERYTHING else value


_ALL_OR_LIST = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": LOCATIONS_MAX},
        {"const": EVERYTHING},
    ],
    "description": 'Locations whose events are wanted, or "*" for all.',
    "examples": [EVERYTHING, ["loc_01h455vb4pex5vsknk084sn02q"]],
}

EventTypePattern = Annotated[
    str,
    BeforeValidator(_check_pattern),
    WithJsonSchema({"type": "string", "maxLength": 100, "examples": ["job.created", "job.*", "*"]}),
]
EventTypes = Annotated[
    list[EventTypePattern],
    ApiField(min_length=1, max_length=EVENT_TYPES_MAX, description="Types, prefixes (`job.*`), or `*` for everything."),
]
LocationsIn = Annotated[
    Annotated[list[LocationId], ApiField(min_length=1, max_length=LOCATIONS_MAX)] | None,
    BeforeValidator(_read_locations),
    WithJsonSchema(_ALL_OR_LIST),
]
Url = Annotated[
    str,
    ApiField(
        min_length=1,
        max_length=URL_LENGTH_MAX,
        description="Where to send: https, a public host, no credentials.",
        examples=["https://example.com/hooks"],
    ),
]
Description = Annotated[str, ApiField(max_length=DESCRIPTION_LENGTH_MAX, description="For people.")]
Headers = Annotated[
    dict[str, str],
    ApiField(
        description="Sent with each request, 20 at most; sealed in the database.", examples=[{"X-Source": "waybill"}]
    ),
]
HeadersPatch = Annotated[dict[str, str | None], ApiField(description="Headers to set, or to remove with null.")]


class EndpointIn(Input):
    """A new endpoint."""

    url: Url
    description: Description = ""
    event_types: EventTypes
    location_ids: LocationsIn
    headers: Headers = {}
    enabled: bool = True


class EndpointPatch(Input):
    """What of an endpoint shall change (JSON Merge Patch: what is left out stays, a header set to null goes)."""

    url: Url = ""
    description: Description = ""
    event_types: EventTypes = []
    location_ids: LocationsIn = None
    headers: HeadersPatch = {}
    enabled: bool = True


class Endpoint(BaseModel):
    """An endpoint; values of custom headers are shown to those alone who may change them."""

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    id: str
    livemode: bool
    url: str
    description: str
    event_types: list[str]
    location_ids: list[str] | Literal["*"]
    headers: dict[str, str]
    enabled: bool
    disabled_reason: str | None = ApiField(description="`requested`, or `gone` when the receiver answered 410.")
    created_by: str
    created_at: datetime
    updated_at: datetime
    version: int


class EndpointCreated(Endpoint):
    """A new endpoint with its secret."""

    secret: str = ApiField(
        description="Signs every request (Standard Webhooks): `whsec_…`. Keep it where the receiver verifies."
    )


class EndpointSecret(Secret):
    """What signs the requests to an endpoint."""

    object: Literal["webhook_endpoint_secret"] = "webhook_endpoint_secret"
    endpoint_id: str
    secret: str


DeliveryStatus = Literal["pending", "delivered", "failed"]


class Delivery(BaseModel):
    """One event for one endpoint."""

    object: Literal["delivery"] = "delivery"
    id: str
    endpoint_id: str
    event_id: str = ApiField(description="Sent as `webhook-id`, the same with each attempt.")
    event_type: str
    status: DeliveryStatus = ApiField(description="`pending` until it was accepted or given up.")
    attempts_made: int
    response_status: int | None = ApiField(
        description="HTTP status of the last attempt; null when there was no answer."
    )
    cause: str | None = ApiField(
        description="Why the last attempt failed: dns, tls, connect, timeout, blocked, too_large, status, protocol, "
        "secret_unreadable."
    )
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    failed_at: datetime | None
    failure: str | None = ApiField(
        description="Why it was given up: exhausted, gone (410), endpoint_disabled, endpoint_deleted."
    )
    livemode: bool
    created_at: datetime
    updated_at: datetime


class Attempt(BaseModel):
    """One request that was made for a delivery."""

    object: Literal["delivery_attempt"] = "delivery_attempt"
    number: int
    started_at: datetime
    latency_ms: int
    result: Literal["delivered", "failed"]
    response_status: int | None
    cause: str | None
    response_body: str | None = ApiField(
        description="Beginning of what the receiver answered, 4,096 characters at most."
    )


class DeliveryDetail(Delivery):
    """A delivery with everything that was tried."""

    attempts: list[Attempt]


def made_at(time_ordered_id: UUID) -> datetime:
    """The instant inside a UUID of version 7."""
    return datetime.fromtimestamp((time_ordered_id.int >> 80) / 1000, UTC)


def first_id_at(instant: datetime) -> UUID:
    """The smallest UUID of version 7 of that millisecond."""
    return UUID(int=max(0, int(instant.timestamp() * 1000)) << 80 | 0x7 << 76 | 0x2 << 62)
