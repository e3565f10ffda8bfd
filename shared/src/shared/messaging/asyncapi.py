"""AsyncAPI 3.1: what a service publishes and consumes, generated from the event models."""

from collections.abc import Collection, Sequence
from typing import Any

from shared.events import SPEC_VERSION, Event
from shared.events.examples import example
from shared.messaging.groups import ConsumerGroup

VERSION = "1.0.0"
PARTITIONS = 12
KAFKA_BINDING = "0.5.0"
CONTENT_TYPE = "application/json"

_TEXT = {"type": "string"}
_ENVELOPE: dict[str, Any] = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "ce_sequence"],
    "properties": {
        "ce_specversion": {**_TEXT, "const": SPEC_VERSION, "description": "Version of CloudEvents."},
        "ce_id": {**_TEXT, "description": "Unique id of the event (evt_…); a repeat has the same one."},
        "ce_type": {**_TEXT, "description": "Type of the event, such as job.created."},
        "ce_source": {**_TEXT, "description": "Who published it, such as waybill/jobs."},
        "ce_time": {**_TEXT, "format": "date-time", "description": "When it happened."},
        "ce_subject": {**_TEXT, "description": "Id of the aggregate; also the record's key."},
        "ce_sequence": {
            **_TEXT,
            "pattern": "^[0-9]+$",
            "description": "Version of the aggregate after this event, a decimal number.",
        },
        "ce_tenantid": {**_TEXT, "description": "Tenant; absent in events of the platform itself."},
        "ce_revocationid": {
            **_TEXT,
            "description": "In events that end access: the revocation (rev_…) that the services report on access.receipts.v1.",
        },
        "content-type": {**_TEXT, "const": CONTENT_TYPE, "description": "Media type of the record's value."},
        "traceparent": {**_TEXT, "description": "W3C trace context of the request that caused the event."},
    },
}
_SERVERS: dict[str, Any] = {
    "kafka": {
        "host": "{host}:{port}",
        "protocol": "kafka-secure",
        "description": (
            "The cluster of an installation (WAYBILL_KAFKA_BOOTSTRAP_SERVERS), over TLS. Each service is a user of its own, and may"
            " write and read what deploy/kafka/topics.yaml says. Where WAYBILL_KAFKA_PREFIX is set, the names of topics and of"
            " consumer groups begin with it."
        ),
        "security": [{"$ref": "#/components/securitySchemes/scram"}],
        "variables": {
            "host": {"default": "localhost", "description": "Name of a broker."},
            "port": {"default": "9092", "description": "Port of its listener."},
        },
    }
}


def build_document(service: str, publishes: Sequence[type[Event]], consumes: Sequence[ConsumerGroup]) -> dict[str, Any]:
    """The document of one service."""
    events = {event.type_name(): event for group in consumes for event in group.events}
    events |= {event.type_name(): event for event in publishes}
    own_topics = sorted({event.topic for event in publishes})
    topics = [*own_topics, *sorted({group.topic for group in consumes} - set(own_topics))]
    schemas: dict[str, Any] = {}
    messages = {name: _message(event, schemas) for name, event in sorted(events.items())}
    operations = {f"publish {topic}": _publication(topic, publishes) for topic in own_topics}
    operations |= {f"consume {group.topic} as {group.name}": _consumption(group) for group in consumes}
    return {
        "asyncapi": "3.1.0",
        "id": f"urn:waybill:{service}",
        "defaultContentType": CONTENT_TYPE,
        "info": {
            "title": f"Waybill {service}",
            "version": VERSION,
            "description": (
                "CloudEvents 1.0 in Kafka's binary mode: the envelope in record headers, the data as JSON value. Delivered at least once;"
                " events of one aggregate have one key, and keep their order."
            ),
            "contact": {"name": "Waybill"},
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": service, "description": f"Events that {service} publishes or consumes."}],
        },
        "servers": _SERVERS,
        "channels": {topic: _channel(topic, events.values()) for topic in topics},
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "scram": {"type": "scramSha512", "description": "The service's own user name and password."},
            },
            "messageTraits": {
                "envelope": {
                    "headers": _ENVELOPE,
                    "bindings": {
                        "kafka": {
                            "key": {**_TEXT, "description": "Id of the aggregate, as in ce_subject."},
                            "bindingVersion": KAFKA_BINDING,
                        }
                    },
                }
            },
        },
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
    state = str(schema["title"])
    schemas[state] = schema
    name = event.type_name()
    sample = example(event)
    return {
        "name": name,
        "title": name,
        "summary": str(event.__doc__).strip(),
        "contentType": CONTENT_TYPE,
        "traits": [{"$ref": "#/components/messageTraits/envelope"}],
        "payload": {"$ref": f"#/components/schemas/{state}"},
        "examples": [
            {
                "name": name.replace(".", "_"),
                "headers": {header: value.decode() for header, value in sample.headers()},
                "payload": sample.data.model_dump(mode="json"),
            }
        ],
    }


def _channel(topic: str, events: Collection[type[Event]]) -> dict[str, Any]:
    names = sorted(event.type_name() for event in events if event.topic == topic)
    return {
        "address": topic,
        "title": topic,
        "description": f"Records that cannot be handled are stored in {topic}.dlq, with origin and reason.",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"topic": topic, "partitions": PARTITIONS, "bindingVersion": KAFKA_BINDING}},
    }


def _publication(topic: str, publishes: Sequence[type[Event]]) -> dict[str, Any]:
    events = [event for event in publishes if event.topic == topic]
    best_effort = all(event.best_effort for event in events)
    return {
        "action": "send",
        "title": f"Publish {topic}",
        "summary": "Sent straight to Kafka." if best_effort else "Sent from the outbox.",
        "description": "What Kafka does not acknowledge is sent again while the process lives."
        if best_effort
        else "Events of one transaction are sent after its commit, and until Kafka has acknowledged them.",
        **_messages_of(topic, events),
    }


def _consumption(group: ConsumerGroup) -> dict[str, Any]:
    return {
        "action": "receive",
        "title": f"Consume {group.topic}",
        "summary": group.purpose,
        "description": "Types that are not listed are skipped. A batch is one transaction; what is delivered again changes nothing.",
        **_messages_of(group.topic, group.events),
        "bindings": {
            "kafka": {
                "groupId": {**_TEXT, "enum": [group.name], "description": "The consumer group."},
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _messages_of(topic: str, events: Collection[type[Event]]) -> dict[str, Any]:
    names = sorted(event.type_name() for event in events)
    return {
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in names],
    }
