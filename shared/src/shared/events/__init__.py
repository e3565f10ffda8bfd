"""The contract between services: events, as CloudEvents 1.0 in Kafka's binary mode.

An event says in the past tense what happened. It carries the whole state of its aggregate after that (`data`) and the aggregate's version
(`sequence`). So a consumer never has to call the publisher, and an upsert guarded by version makes repeats and wrong order harmless.
Envelope fields are record headers, `data` is the JSON value, and the id of the aggregate is the key of the record.

Consumers are tolerant: they ignore unknown fields and skip unknown types. A field with a fixed set of values is a plain string, so that a
new value never makes a record unreadable.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from shared.ids import new_id

SPEC_VERSION = "1.0"


class State(BaseModel):
    """Base of the data of events: immutable; unknown fields are ignored. The text below a field is its description."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Event(BaseModel):
    """One event. A subclass narrows `type` to one literal and `data` to one state."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: ClassVar[str]
    source: ClassVar[str]
    separate_shard: ClassVar[bool] = False
    """Whether it leaves through an outbox shard apart from all others: what keeps its topic from taking it then delays no other event."""
    best_effort: ClassVar[bool] = False
    """Whether it is sent straight to Kafka, and may be lost, because no transaction makes it true."""

    type: str
    tenant_id: str | None = Field(description="Tenant of the event; null for events of the platform itself.")
    subject: str = Field(description="Id of the aggregate; also the record's key.")
    sequence: int = Field(description="Version of the aggregate after this event.")
    id: str = Field(default_factory=lambda: new_id("evt"))
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    revocation_id: str | None = Field(None, description="The revocation that the event is part of: services report it.")
    data: Any

    @classmethod
    def type_name(cls) -> str:
        """The published name of this type, such as `job.created`."""
        return str(cls.model_fields["type"].default)

    def headers(self) -> list[tuple[str, bytes]]:
        """The CloudEvents envelope as Kafka record headers (trace context excluded)."""
        return [(name, value.encode()) for name, value in self.envelope()]

    def envelope(self) -> list[tuple[str, str]]:
        """The same as text."""
        tenant = [("ce_tenantid", self.tenant_id)] if self.tenant_id else []
        revocation = [("ce_revocationid", self.revocation_id)] if self.revocation_id else []
        return [
            ("ce_specversion", SPEC_VERSION),
            ("ce_id", self.id),
            ("ce_type", self.type),
            ("ce_source", self.source),
            ("ce_time", self.time.isoformat()),
            ("ce_subject", self.subject),
            ("ce_sequence", str(self.sequence)),
            ("content-type", "application/json"),
            *tenant,
            *revocation,
        ]

    def value(self) -> bytes:
        """The JSON value of the record."""
        data: BaseModel = self.data
        return data.__pydantic_serializer__.to_json(data)

    @classmethod
    def from_record(cls, headers: Mapping[str, str], value: bytes) -> Self:
        """Read a record of this type. Raises `KeyError` or `ValueError` (also pydantic's) when that fails."""
        return cls(
            type=headers["ce_type"],
            tenant_id=headers.get("ce_tenantid"),
            subject=headers["ce_subject"],
            sequence=int(headers["ce_sequence"]),
            id=headers["ce_id"],
            time=datetime.fromisoformat(headers["ce_time"]),
            revocation_id=headers.get("ce_revocationid"),
            data=cls.model_fields["data"].annotation.model_validate_json(value),  # type: ignore[union-attr]
        )


class Vocabulary:
    """The event types that one consumer reads."""

    def __init__(self, *types: type[Event]):
        self.types = {event_type.type_name(): event_type for event_type in types}

    def read(self, headers: Mapping[str, str], value: bytes) -> Event | None:
        """The event in a record, or None when its type is none of these. Raises `KeyError` or `ValueError` when unreadable."""
        event_type = self.types.get(headers["ce_type"])
        return None if event_type is None else event_type.from_record(headers, value)


def text_headers(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Record headers as text; the last of equal names wins. Raises `UnicodeDecodeError` (a `ValueError`)."""
    return {name: value.decode() for name, value in headers}
