"""The AsyncAPI documents: complete, true to the application, and with an example of each message that fits its schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import billing.app
import billing.config
import identity.app
import identity.config
import jobs.app
import jobs.config
import webhooks.app
import webhooks.config
from shared.events import Event, examples
from shared.service.composition import Service
from tests.harness import compatibility
from tests.harness.documents import ENVIRONMENT, ROOT, SERVICES, path_of

APPS: dict[str, tuple[Any, Any]] = {
    "identity": (identity.app.create_app, identity.config.Settings),
    "billing": (billing.app.create_app, billing.config.Settings),
    "jobs": (jobs.app.create_app, jobs.config.Settings),
    "webhooks": (webhooks.app.create_app, webhooks.config.Settings),
}
EVENTS = [event for events in compatibility.events().values() for event in events]


@pytest.fixture(scope="module", params=SERVICES)
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path_of(request.param, "asyncapi").read_text())
    return found


def messages(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from document["components"]["messages"].items()


def topics_of(file: Path) -> dict[str, dict[str, Any]]:
    return {topic["name"]: topic for topic in yaml.safe_load(file.read_text())["topics"]}


def test_each_message_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    headers = document["components"]["messageTraits"]["envelope"]["headers"]

    for name, message in messages(document):
        (example,) = message["examples"]
        schema = {**message["payload"], "components": document["components"]}
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        assert [error.message for error in validator.iter_errors(example["payload"])] == [], name
        assert [
            error.message for error in jsonschema.Draft202012Validator(headers).iter_errors(example["headers"])
        ] == []
        assert example["headers"]["ce_type"] == name


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type_name())
def test_an_example_is_an_event_that_can_be_read(event: type[Event]) -> None:
    example = examples.example(event)

    headers = {name: value.decode() for name, value in example.headers()}
    assert event.from_record(headers, example.value()) == example
    # What a reader of all fields sees: none that the schema does not have, none of another type.
    jsonschema.validate(json.loads(example.value()), event.model_fields["data"].annotation.model_json_schema())  # type: ignore[union-attr]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type_name())
def test_every_event_says_what_happened(event: type[Event]) -> None:
    own = vars(event).get("__doc__") or ""

    assert own.strip().endswith(".")


def test_a_document_says_where_with_which_keys_and_by_which_groups(document: dict[str, Any]) -> None:
    file = topics_of(ROOT / "deploy/kafka/topics.yaml")

    server = document["servers"]["kafka"]
    assert server["protocol"] == "kafka-secure"
    assert [
        document["components"]["securitySchemes"][one["$ref"].rpartition("/")[2]]["type"] for one in server["security"]
    ] == ["scramSha512"]
    for topic, channel in document["channels"].items():
        binding = channel["bindings"]["kafka"]
        assert (channel["address"], binding["topic"]) == (topic, topic)
        assert binding["partitions"] == file[topic]["partitions"]
        assert channel["messages"].keys() == {
            name for name, message in messages(document) if name in channel["messages"]
        }
    assert document["components"]["messageTraits"]["envelope"]["bindings"]["kafka"]["key"]["type"] == "string"
    for name, operation in document["operations"].items():
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["messages"], name
        (channel,) = {one["$ref"].rpartition("/messages/")[0] for one in operation["messages"]}
        assert channel == operation["channel"]["$ref"]
        assert ("groupId" in operation.get("bindings", {}).get("kafka", {})) == (operation["action"] == "receive")


@pytest.mark.parametrize("service", SERVICES)
def test_the_groups_are_those_that_the_service_joins(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    joined: set[tuple[str, str]] = set()
    subscribe = Service.subscribe

    def note(self: Service, **options: Any) -> None:
        joined.add((options["topic"], options["group"]))
        subscribe(self, **options)

    monkeypatch.setattr(Service, "subscribe", note)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    create_app, settings = APPS[service]
    create_app(settings())

    document = json.loads(path_of(service, "asyncapi").read_text())
    described = {
        (operation["channel"]["$ref"].rpartition("/")[2], group)
        for operation in document["operations"].values()
        if operation["action"] == "receive"
        for group in operation["bindings"]["kafka"]["groupId"]["enum"]
    }
    assert described == joined
