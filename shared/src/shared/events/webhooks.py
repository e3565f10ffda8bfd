"""Webhooks publishes on `webhooks.events.v1`. Key: the endpoint's id."""

from typing import ClassVar, Literal

from shared.events import Event, State

TOPIC = "webhooks.events.v1"
SOURCE = "waybill/webhooks"


class EndpointState(State):
    """An endpoint without its secrets and custom headers."""

    endpoint_id: str
    tenant_id: str
    url: str
    event_types: list[str]
    location_ids: list[str] | None
    """Null: all locations."""
    enabled: bool
    reason: str | None = None
    """Why it was disabled."""


class EndpointEvent(Event):
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE
    data: EndpointState


class EndpointCreated(EndpointEvent):
    """A webhook endpoint was created."""

    type: Literal["endpoint.created"] = "endpoint.created"


class EndpointUpdated(EndpointEvent):
    """A webhook endpoint was updated or enabled."""

    type: Literal["endpoint.updated"] = "endpoint.updated"


class EndpointWarned(EndpointEvent):
    """A webhook endpoint has failed for half of the time after which it is disabled."""

    type: Literal["endpoint.warned"] = "endpoint.warned"


class EndpointDisabled(EndpointEvent):
    """A webhook endpoint was disabled; `reason` says why."""

    type: Literal["endpoint.disabled"] = "endpoint.disabled"


class EndpointDeleted(EndpointEvent):
    """A webhook endpoint was deleted."""

    type: Literal["endpoint.deleted"] = "endpoint.deleted"


EVENTS: tuple[type[Event], ...] = (
    EndpointCreated,
    EndpointUpdated,
    EndpointWarned,
    EndpointDisabled,
    EndpointDeleted,
)
