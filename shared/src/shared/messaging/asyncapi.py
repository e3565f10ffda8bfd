"""AsyncAPI 3.0: what a service publishes and consumes, generated from the event models."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.events import Event

VERSION = "1.0.0"

_ENVELOPE: dict[str, Any] = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "ce_sequence"],
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "description": "Unique id of the event (evt_…); a repeat has the same one."},
        "ce_type": {"type": "string"},
        "ce_source": {"type": "string"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "description": "Id of the aggregate; also the record's key."},
        "ce_sequence": {
            "type": "string",
            "description": "Version of the aggregate after this event, a decimal number.",
        },
        "ce_tenantid": {"type": "string", "description": "Tenant; absent in events of the platform itself."},
        "traceparent": {"type": "string", "description": "W3C trace context of the request that caused the event."},
    },
}


def build_document(service: str, publishes: Sequence[type[Event]], consumes: Mapping[str, str]) -> dict[str, Any]:
    """The document of one service. `consumes` maps each topic to its use in the service."""
    own_topics = sorted({event.topic for event in publishes})
    channels: dict[str, Any] = {topic: {"address": topic, "messages": {}} for topic in [*own_topics, *sorted(consumes)]}
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for event in publishes:
        name = event.type_name()
        messages[name] = _message(event, schemas)
        channels[event.topic]["messages"][name] = {"$ref": f"#/components/messages/{name}"}
    operations: dict[str, Any] = {
        f"publish {topic}": {"action": "send", "channel": {"$ref": f"#/channels/{topic}"}} for topic in own_topics
    }
    for topic, purpose in consumes.items():
        operations[f"consume {topic}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{topic}"},
            "summary": purpose,
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Waybill {service}",
            "version": VERSION,
            "description": "CloudEvents 1.0 in Kafka's binary mode: the envelope in record headers, the data as JSON value.",
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas, "messageTraits": {"envelope": {"headers": _ENVELOPE}}},
    }


def data_schema(event: type[Event]) -> dict[str, Any]:
    """JSON Schema of an event's data."""
    model = event.model_fields["data"].annotation
    assert model is not None
    schema: dict[str, Any] = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    return schema


def _message(event: type[Event], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = data_schema(event)
    schemas.update(schema.pop("$defs", {}))
    name = str(schema["title"])
    schemas[name] = schema
    message: dict[str, Any] = {
        "name": event.type_name(),
        "contentType": "application/json",
        "traits": [{"$ref": "#/components/messageTraits/envelope"}],
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
    if event.__doc__ and event.__doc__ != event.__mro__[1].__doc__:
        message["summary"] = event.__doc__.strip()
    return message
