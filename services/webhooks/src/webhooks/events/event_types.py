"""Event types: a JSON Schema and an example of each.

Both are generated from the models that the events are published with.
"""

from datetime import datetime
from functools import cache
from typing import Any

from shared.api import Page
from shared.events import Event, State, examples, jobs, webhooks
from webhooks.events.schemas import EventType

TEST_EVENT = "webhook.test"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class TestState(State):
    """The data of a test event."""

    tenant_id: str
    location_ids: list[str] = []
    livemode: bool
    endpoint_id: str
    message: str = "This is a test. Nothing has happened."


@cache
def list_event_types() -> Page[EventType]:
    """All event types; those that endpoints can subscribe to come first."""
    test = EventType(
        name=TEST_EVENT,
        description="Sent only by `POST /v1/webhook-endpoints/{id}/test`.",
        is_delivered=True,
        topic=None,
        json_schema=_delivered_schema(TEST_EVENT, TestState),
        example=event_body(
            TEST_EVENT,
            examples.AT,
            TestState(tenant_id=examples.TENANT, livemode=True, endpoint_id=examples.ENDPOINT),
        ),
    )
    types = [*map(_delivered, jobs.EVENTS), test, *map(_published, webhooks.EVENTS)]
    return Page[EventType](data=types, has_more=False)


def event_body(name: str, at: datetime, state: State) -> dict[str, Any]:
    """The body of an event as receivers get it."""
    return {"type": name, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": state.model_dump(mode="json")}


def _delivered(event: type[jobs.JobEvent]) -> EventType:
    name = event.type_name()
    example = examples.example(event)
    return EventType(
        name=name,
        description=str(event.__doc__),
        is_delivered=True,
        topic=event.topic,
        json_schema=_delivered_schema(name, jobs.JobChange),
        example=event_body(name, example.time, example.data),
    )


def _published(event: type[Event]) -> EventType:
    return EventType(
        name=event.type_name(),
        description=str(event.__doc__),
        is_delivered=False,
        topic=event.topic,
        json_schema={"$schema": _DIALECT, **webhooks.EndpointState.model_json_schema(mode="serialization")},
        example=examples.example(event).data.model_dump(mode="json"),
    )


def _delivered_schema(name: str, state: type[State]) -> dict[str, Any]:
    """The JSON Schema of a delivered body."""
    content = state.model_json_schema(mode="serialization")
    definitions = content.pop("$defs", {})
    return {
        "$schema": _DIALECT,
        "title": name,
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": name},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
            "data": content,
        },
        "$defs": definitions,
    }
