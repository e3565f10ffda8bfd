"""The committed OpenAPI and AsyncAPI documents say what the services do (`make contracts` rewrites them)."""

import json
from collections.abc import Iterator
from typing import Any

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
