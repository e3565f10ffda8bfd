"""Whether events of today can be read by yesterday's consumers, and yesterday's events by those of today."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.events import Event, access, audit, billing, identity, jobs, receipts, webhooks

PUBLISHERS = (identity, billing, jobs, webhooks, access, audit, receipts)

Schema = Mapping[str, Any]

_REMARKS = frozenset({"title", "description", "examples", "default", "deprecated", "$comment"})
"""What a schema says that changes nothing about which documents fit it."""


def events() -> dict[str, list[type[Event]]]:
    """Every event type that is published, by topic."""
    return {publisher.TOPIC: list(publisher.EVENTS) for publisher in PUBLISHERS}


def document(published: Sequence[type[Event]]) -> dict[str, Any]:
    """One topic's contract: for each event type the schema of its data, as a reader needs it."""
    states = {event.type_name(): _state(event) for event in published}
    models = sorted(set(states.values()), key=lambda state: state.__name__)
    references, schemas = models_json_schema([(model, "validation") for model in models])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": published[0].topic,
        "events": {name: references[(state, "validation")] for name, state in states.items()},
        "$defs": schemas["$defs"],
    }


def breaches(committed: Schema, current: Schema) -> list[str]:
    """What breaks readers between two documents of a topic: whatever is gone, renamed or retyped, and what is newly required."""
    found: list[str] = []
    for name, schema in committed["events"].items():
        if name not in current["events"]:
            found.append(f"{name}: the event type is gone")
            continue
        found += _compare(name, schema, current["events"][name], committed, current, ())
    return found


def _state(event: type[Event]) -> type[BaseModel]:
    state = event.model_fields["data"].annotation
    assert isinstance(state, type)
    assert issubclass(state, BaseModel)
    return state


def _compare(
    place: str, old: Schema, new: Schema, committed: Schema, current: Schema, seen: tuple[str, ...]
) -> list[str]:
    reference = str(old.get("$ref", ""))
    if reference in seen:
        return []
    seen = (*seen, reference) if reference else seen
    old, new = _resolved(old, committed), _resolved(new, current)
    found = [
        f"{place}: {keyword} was {old.get(keyword)!r} and is {new.get(keyword)!r}"
        for keyword in sorted((old.keys() | new.keys()) - _REMARKS - {"properties", "required", "items", "anyOf"})
        if keyword != "additionalProperties" and old.get(keyword) != new.get(keyword)
    ]
    found += [f"{place}/{name}: newly required" for name in _required(new) if name not in _required(old)]
    for name, schema in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            found += _compare(f"{place}/{name}", schema, new["properties"][name], committed, current, seen)
        else:
            found.append(f"{place}/{name}: gone")
    for keyword in ("items", "additionalProperties"):
        found += _compare_inner(f"{place}/{keyword}", old.get(keyword), new.get(keyword), committed, current, seen)
    old_choices, new_choices = old.get("anyOf", []), new.get("anyOf", [])
    if len(old_choices) != len(new_choices):
        return [*found, f"{place}: another number of choices"]
    for number, choices in enumerate(zip(old_choices, new_choices, strict=True)):
        found += _compare(f"{place}/{number}", *choices, committed, current, seen)
    return found


def _compare_inner(
    place: str, old: object, new: object, committed: Schema, current: Schema, seen: tuple[str, ...]
) -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return _compare(place, old, new, committed, current, seen)
    return [] if old == new else [f"{place}: was {old!r} and is {new!r}"]


def _required(schema: Schema) -> Sequence[str]:
    required: Sequence[str] = schema.get("required", ())
    return required


def _resolved(schema: Schema, document: Schema) -> Schema:
    while "$ref" in schema:
        schema = document["$defs"][str(schema["$ref"]).rpartition("/")[2]]
    return schema
