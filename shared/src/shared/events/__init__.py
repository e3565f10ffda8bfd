"""The language between services: CloudEvents 1.0 in Kafka's binary mode.

An event is a fact in the past tense that carries the whole current state of its aggregate (`data`) and the aggregate's version
(`sequence`), so that a consumer needs no call back and an upsert guarded by version makes repeats and order mistakes harmless.
Envelope fields travel as record headers, `data` as the JSON value, the aggregate's id as the record's key.

Consumers are tolerant: unknown fields are ignored, unknown types are skipped, and what another product would make an enumeration is a
plain string here, so that a new value never makes a record unreadable.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from shared.ids import new_id

SPEC_VERSION = "1.0"


class State(BaseModel):
    """Base of everything that events carry: immutable, and blind to fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(BaseModel):
    """One fact. A subclass narrows `type` to one literal and `data` to one state."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: ClassVar[str]
    source: ClassVar[str]

    type: str
    tenant_id: str | None = Field(description="Tenant that the fact belongs to; null for the platform's own.")
    subject: str = Field(description="Id of the aggregate; also the record's key.")
    sequence: int = Field(description="Version of the aggregate after this fact.")
    id: str = Field(default_factory=lambda: new_id("evt"))
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    data: Any

    @classmethod
    def type_name(cls) -> str:
        """The published name, such as `job.created`."""
        return str(cls.model_fields["type"].default)

    def headers(self) -> list[tuple[str, bytes]]:
        """The CloudEvents envelope as Kafka record headers (trace context excluded)."""
        tenant = [("ce_tenantid", self.tenant_id.encode())] if self.tenant_id else []
        return [
            ("ce_specversion", SPEC_VERSION.encode()),
            ("ce_id", self.id.encode()),
            ("ce_type", self.type.encode()),
            ("ce_source", self.source.encode()),
            ("ce_time", self.time.isoformat().encode()),
            ("ce_subject", self.subject.encode()),
            ("ce_sequence", str(self.sequence).encode()),
            ("content-type", b"application/json"),
            *tenant,
        ]

    def value(self) -> bytes:
        """The record's value."""
        data: BaseModel = self.data
        return data.__pydantic_serializer__.to_json(data)

    @classmethod
    def from_record(cls, headers: Mapping[str, str], value: bytes) -> Self:
        """Read a record of this type. Raises `KeyError` or `ValueError` (pydantic's included) when it can't be read."""
        return cls(
            type=headers["ce_type"],
            tenant_id=headers.get("ce_tenantid"),
            subject=headers["ce_subject"],
            sequence=int(headers["ce_sequence"]),
            id=headers["ce_id"],
            time=datetime.fromisoformat(headers["ce_time"]),
            data=cls.model_fields["data"].annotation.model_validate_json(value),  # type: ignore[union-attr]
        )


class Vocabulary:
    """The event types that one reader understands."""

    def __init__(self, *types: type[Event]):
        self.types = {event_type.type_name(): event_type for event_type in types}

    def read(self, headers: Mapping[str, str], value: bytes) -> Event | None:
        """The event in a record, or None when its type is not one of ours. Raises `KeyError` or `ValueError` when unreadable."""
        event_type = self.types.get(headers["ce_type"])
        return None if event_type is None else event_type.from_record(headers, value)


def text_headers(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Record headers as text; the last of equal names wins. Raises `UnicodeDecodeError` (a `ValueError`)."""
    return {name: value.decode() for name, value in headers}
