"""The committed OpenAPI and AsyncAPI documents say what the services do (`make contracts` rewrites them)."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.harness.documents import KINDS, SERVICES, generate, path_of


@pytest.fixture(scope="module")
def documents() -> dict[tuple[str, str], str]:
    return generate()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("service", SERVICES)
def test_the_committed_document_is_the_present_one(
    documents: dict[tuple[str, str], str], service: str, kind: str
) -> None:
    assert path_of(service, kind).read_text() == documents[service, kind], "run make contracts and look at the diff"


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_says_who_may_call_it_and_what_it_answers(
    documents: dict[tuple[str, str], str], service: str
) -> None:
    document = json.loads(documents[service, "openapi"])
    found = dict(operations(document))

    assert document["openapi"].startswith("3.1")
    assert len({operation["operationId"] for operation in found.values()}) == len(found)
    for name, operation in found.items():
        assert operation["x-access"] in ("public", "authenticated", "requires"), name
        assert ("x-required-permission" not in operation) == (operation["x-access"] != "requires"), name
        assert isinstance(operation["x-subscription-exempt"], bool), name
        assert operation["summary"], name
        assert {"422", "429", "500", "503"} <= set(operation["responses"]), name
        assert operation["x-access"] == "public" or {"401", "403"} <= set(operation["responses"]), name


def schemas_in(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All schemas of the document, each with its place."""
    for name, schema in document["components"]["schemas"].items():
        yield from schemas_below(name, schema)
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            yield from schemas_below(f"{name} {parameter.get('name')}", parameter.get("schema", {}))


def schemas_below(place: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield place, schema
    for name, member in schema.get("properties", {}).items():
        yield from schemas_below(f"{place}.{name}", member)
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from schemas_below(f"{place}/{keyword}", schema[keyword])
    for choice in schema.get("anyOf", []):
        yield from schemas_below(f"{place}/anyOf", choice)


def media_types(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each request and answer consists of."""
    answers = document["components"]["responses"]
    yield from ((f"{name} {kind}", media) for name, one in answers.items() for kind, media in one["content"].items())
    for name, operation in operations(document):
        for part in (operation.get("requestBody", {}), *operation["responses"].values()):
            yield from ((f"{name} {kind}", media) for kind, media in part.get("content", {}).items())


def has_example(schema: dict[str, Any]) -> bool:
    return bool(schema.keys() & {"examples", "$ref", "enum", "const"}) or any(
        has_example(choice) for choice in schema.get("anyOf", [])
    )


@pytest.mark.parametrize("service", SERVICES)
def test_everything_is_described_with_a_valid_example(documents: dict[tuple[str, str], str], service: str) -> None:
    document = json.loads(documents[service, "openapi"])

    def fits(example: Any, schema: dict[str, Any]) -> bool:
        # References are into the components of the document.
        whole = {"components": document["components"], "allOf": [schema]}
        return jsonschema.Draft202012Validator(whole).is_valid(example)

    for place, schema in schemas_in(document):
        for name, member in schema.get("properties", {}).items():
            assert member.get("description"), f"{place}.{name} has no description"
            assert has_example(member), f"{place}.{name} has no example"
        for example in schema.get("examples", []):
            assert fits(example, schema), f"{place}: {example}"
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert "$ref" in parameter or parameter.get("description"), f"{name}: {parameter}"
            assert "$ref" in parameter or has_example(parameter["schema"]), f"{name}: {parameter}"
    for place, media in media_types(document):
        assert "example" in media, f"{place} has no example"
        assert fits(media["example"], media["schema"]), place


@pytest.mark.parametrize("service", SERVICES)
def test_schemas_are_such_as_generators_read(documents: dict[tuple[str, str], str], service: str) -> None:
    """What some generators of clients fail at, or make a poor client of."""
    document = json.loads(documents[service, "openapi"])

    for name in document["components"]["schemas"]:
        assert re.fullmatch("[A-Z][A-Za-z0-9]+", name), name
        assert not (name.startswith("New") and name[3:] in document["components"]["schemas"]), name
        assert not name.endswith("Test"), name
    for place, schema in schemas_in(document):
        assert not isinstance(schema.get("title"), str), place
        assert not schema.keys() & {"le", "ge", "lt", "gt"}, place
        assert schema.get("default") != [], place
        choices = schema.get("anyOf", [])
        if {"type": "null"} in choices:
            assert all("$ref" in choice for choice in choices if choice != {"type": "null"}) or len(choices) > 2, place
        if len(set(schema.get("enum", ())) - {None}) > 1:
            assert place in document["components"]["schemas"], f"{place} has no name"


@pytest.mark.parametrize("service", SERVICES)
def test_no_request_has_a_default(documents: dict[tuple[str, str], str], service: str) -> None:
    """Generated clients take members with a default for required, or send them."""
    document = json.loads(documents[service, "openapi"])
    schemas = document["components"]["schemas"]
    bodies = [operation["requestBody"] for _, operation in operations(document) if "requestBody" in operation]

    assert [place for body in bodies for place in members_with_a_default(body, schemas, "", set())] == []


@pytest.mark.parametrize("service", SERVICES)
def test_headers_are_declared_where_they_come(documents: dict[tuple[str, str], str], service: str) -> None:
    document = json.loads(documents[service, "openapi"])
    parameters = document["components"].get("parameters", {})
    schemas = document["components"]["schemas"]

    for answer in document["components"]["responses"].values():
        assert "X-Request-Id" in answer["headers"]
    assert "Retry-After" in document["components"]["responses"]["TooManyRequests"]["headers"]
    for name, operation in operations(document):
        asked = {
            one.get("name") or parameters[one["$ref"].rpartition("/")[2]]["name"]
            for one in operation.get("parameters", [])
        }
        assert "X-Request-Id" in asked, name
        in_tenant = "platform_key" in operation["x-admits"] and not is_for_operators(operation)
        assert ({"X-Tenant-Id", "X-Tenant-Name"} <= asked) == in_tenant, name
        for status, answer in operation["responses"].items():
            if not status.startswith("2"):
                continue
            assert "X-Request-Id" in answer["headers"], name
            assert ("RateLimit" in answer["headers"]) == (operation["x-access"] != "public"), name
            reference = answer.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
            if "version" in schemas.get(reference.rpartition("/")[2], {}).get("properties", {}):
                assert "ETag" in answer["headers"], name
                assert not name.startswith("GET ") or {"If-None-Match"} <= asked, name
        if name.startswith("PATCH "):
            assert {"If-Match", "Idempotency-Key"} <= asked, name


def is_for_operators(operation: dict[str, Any]) -> bool:
    return str(operation.get("x-required-permission", "")).startswith("platform.")


def members_with_a_default(schema: Any, schemas: dict[str, Any], place: str, seen: set[str]) -> Iterator[str]:
    """Places of this schema, and of those that it refers to, which have a default."""
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if not isinstance(schema, dict):
        return
    if "default" in schema and place.rpartition("/")[2] != "properties":
        yield place
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name and name not in seen:
        seen.add(name)
        yield from members_with_a_default(schemas[name], schemas, name, seen)
    for member, value in schema.items():
        if member not in ("examples", "example"):
            yield from members_with_a_default(value, schemas, f"{place}/{member}", seen)


@pytest.mark.parametrize("service", SERVICES)
def test_no_patch_has_a_default(documents: dict[tuple[str, str], str], service: str) -> None:
    """A generated client would send it, and change what it was not told to."""
    document = json.loads(documents[service, "openapi"])
    schemas = document.get("components", {}).get("schemas", {})
    patches = [schema for name, schema in schemas.items() if name.endswith("Patch")]
    patches += [operation["requestBody"] for name, operation in operations(document) if name.startswith("PATCH ")]

    found = [place for patch in patches for place in members_with_a_default(patch, schemas, "", set())]

    assert found == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_patch_is_also_taken_as_a_merge_patch(documents: dict[tuple[str, str], str], service: str) -> None:
    for name, operation in operations(json.loads(documents[service, "openapi"])):
        if name.startswith("PATCH "):
            taken = set(operation["requestBody"]["content"])
            assert taken == {"application/json", "application/merge-patch+json"}, name


@pytest.mark.parametrize("service", SERVICES)
def test_no_schema_has_the_name_of_a_constructor_of_another(
    documents: dict[tuple[str, str], str], service: str
) -> None:
    """Clients in Go have a function `NewJob` for each schema `Job`."""
    names = json.loads(documents[service, "openapi"])["components"]["schemas"].keys()

    assert [name for name in names if f"New{name}" in names] == []


def test_no_two_services_answer_on_one_path_but_what_all_of_them_answer(
    documents: dict[tuple[str, str], str],
) -> None:
    everywhere = {"GET /v1/auth/test", "GET /v1/permissions"}
    owners: dict[str, list[str]] = {}
    for service in SERVICES:
        for name, _ in operations(json.loads(documents[service, "openapi"])):
            owners.setdefault(name, []).append(service)

    assert {name for name, services in owners.items() if len(services) > 1} == everywhere
