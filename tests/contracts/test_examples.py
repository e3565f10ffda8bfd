"""The examples of requests in the OpenAPI documents are requests that the services read."""

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from tests.harness.documents import ENVIRONMENT, SERVICES, path_of


def requests_in(service: str) -> Iterator[tuple[str, Any]]:
    """The examples of all JSON bodies, by operation."""
    document = json.loads(path_of(service, "openapi").read_text("utf-8"))
    for methods in document["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                yield operation["operationId"], content["application/json"]["example"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_example_of_a_request_is_accepted(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    settings = importlib.import_module(f"{service}.config").Settings()
    app = importlib.import_module(f"{service}.app").create_app(settings)
    bodies = {
        route.operation_id: route.body_field for route in app.routes if isinstance(route, APIRoute) and route.body_field
    }
    examples = dict(requests_in(service))

    assert examples.keys() == bodies.keys()
    for operation, example in examples.items():
        _, errors = bodies[operation].validate(example, {}, loc=("body",))
        assert not errors, f"{operation}: {errors}"
