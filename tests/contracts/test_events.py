"""What events promise their readers: the committed schemas, and that no change breaks them."""

import copy
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from shared.events import Event
from tests.contracts.write import FOLDER, committed
from tests.harness import compatibility

Document = dict[str, Any]

EVENTS = compatibility.events()


@pytest.mark.parametrize("topic", EVENTS)
def test_no_event_breaks_its_readers(topic: str) -> None:
    contract = committed(topic)

    assert contract is not None, f"{topic} has no contract yet: make contracts"
    assert compatibility.breaches(contract, compatibility.document(EVENTS[topic])) == []


@pytest.mark.parametrize("topic", EVENTS)
def test_the_committed_schemas_are_those_of_the_models(topic: str) -> None:
    assert committed(topic) == compatibility.document(EVENTS[topic]), "make contracts"


def test_every_committed_schema_is_one_of_a_topic() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == EVENTS.keys()


@pytest.mark.parametrize("topic", EVENTS)
def test_a_contract_is_valid_json_schema(topic: str) -> None:
    document = compatibility.document(EVENTS[topic])

    for schema in document["events"].values():
        jsonschema.Draft202012Validator.check_schema({**schema, "$defs": document["$defs"]})


@pytest.mark.parametrize(
    "event", [event for events in EVENTS.values() for event in events], ids=lambda event: event.type_name()
)
def test_every_event_states_its_subject_in_the_past_tense(event: type[Event]) -> None:
    subject, _, verb = event.type_name().partition(".")

    assert subject.replace("_", "").isalpha()
    # "incomplete" is what the product calls a job that failed.
    assert verb.split("_")[-1].endswith("ed") or verb in {"will_end", "incomplete", "past_due", "paid", "unpaid"}


def sample() -> Document:
    """A small contract with everything in it: nesting, lists, maps, choices."""
    address = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where."},
            "lines": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["city"],
    }
    order = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "amount": {"type": "integer"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "addresses": {"type": "array", "items": {"$ref": "#/$defs/Address"}},
        },
        "required": ["id", "amount"],
    }
    return {"events": {"order.placed": {"$ref": "#/$defs/Order"}}, "$defs": {"Order": order, "Address": address}}


def changed(change: Callable[[Document, Document], object]) -> list[str]:
    """The breaches between the sample and the sample after a change to its order and its address."""
    current = copy.deepcopy(sample())
    change(current["$defs"]["Order"], current["$defs"]["Address"])
    return compatibility.breaches(sample(), current)


@pytest.mark.parametrize(
    "change",
    [
        lambda order, address: order["properties"].pop("note"),
        lambda order, address: order["properties"].update(total=order["properties"].pop("amount")),
        lambda order, address: order["properties"]["amount"].update(type="number"),
        lambda order, address: order["properties"]["id"].update(format="uuid"),
        lambda order, address: order["properties"]["note"].update(anyOf=[{"type": "string"}]),
        lambda order, address: order["properties"].update(note={"type": "string"}),
        lambda order, address: order["properties"]["labels"].update(additionalProperties={"type": "integer"}),
        lambda order, address: order["required"].append("note"),
        lambda order, address: (order["properties"].update(tax={"type": "integer"}), order["required"].append("tax")),
        lambda order, address: address["properties"].pop("city"),
        lambda order, address: address["properties"]["lines"].update(items={"type": "integer"}),
        lambda order, address: address["required"].append("lines"),
    ],
    ids=[
        "removed",
        "renamed",
        "retyped",
        "another format",
        "a choice less",
        "no longer null",
        "retyped in a map",
        "an old field newly required",
        "a new field that is required",
        "removed below",
        "retyped in a list below",
        "newly required below",
    ],
)
def test_a_change_that_breaks_a_reader_is_found(change: Callable[[Document, Document], object]) -> None:
    assert changed(change) != []


@pytest.mark.parametrize(
    "change",
    [
        lambda order, address: order["properties"].update(tax={"type": "integer", "default": 0}),
        lambda order, address: address["properties"].update(country={"type": "string", "default": "CA"}),
        lambda order, address: order["properties"]["amount"].update(description="Cents.", title="Amount"),
        lambda order, address: order["required"].remove("amount"),
    ],
    ids=["a new field", "a new field below", "a remark", "no longer required"],
)
def test_a_change_that_breaks_nobody_passes(change: Callable[[Document, Document], object]) -> None:
    assert changed(change) == []


def test_an_event_type_that_is_gone_is_found() -> None:
    current = {**sample(), "events": {}}

    assert compatibility.breaches(sample(), current) == ["order.placed: the event type is gone"]


def test_a_new_event_type_passes() -> None:
    current = sample()
    current["events"]["order.paid"] = {"$ref": "#/$defs/Order"}

    assert compatibility.breaches(sample(), current) == []
