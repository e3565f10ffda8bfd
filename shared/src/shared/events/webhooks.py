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
    type: Literal["endpoint.created"] = "endpoint.created"


class EndpointUpdated(EndpointEvent):
    type: Literal["endpoint.updated"] = "endpoint.updated"


class EndpointWarned(EndpointEvent):
    """The endpoint has failed for half of the time after which it is disabled."""

    type: Literal["endpoint.warned"] = "endpoint.warned"


class EndpointDisabled(EndpointEvent):
    type: Literal["endpoint.disabled"] = "endpoint.disabled"


class EndpointDeleted(EndpointEvent):
    type: Literal["endpoint.deleted"] = "endpoint.deleted"


EVENTS: tuple[type[Event], ...] = (
    EndpointCreated,
    EndpointUpdated,
    EndpointWarned,
    EndpointDisabled,
    EndpointDeleted,
)
