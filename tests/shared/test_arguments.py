"""What a handler is called with is what FastAPI would call it with; what is refused is left to FastAPI."""

from contextlib import AsyncExitStack
from typing import Annotated, Any

import pytest
from fastapi import Depends, Header, Query, Request
from fastapi.dependencies.utils import get_dependant, solve_dependencies
from pydantic import BaseModel, ConfigDict, Field

from shared.api.arguments import plan


class Conditions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tag: list[str] = []
    status: str | None = None
    limit: int = Field(50, le=200)


class Body(BaseModel):
    number: int


async def scope_of(request: Request, limit: Annotated[int, Query(le=200)] = 50) -> str:
    return f"{request.url.path} {limit}"


Scope = Annotated[str, Depends(scope_of)]


async def twice(scope: Scope) -> str:
    return scope + scope


async def lists(
    item_id: str,
    conditions: Annotated[Conditions, Query()],
    scope: Scope,
    both: Annotated[str, Depends(twice)],
    ids: Annotated[list[str] | None, Query(alias="id")] = None,
    if_match: Annotated[str | None, Header()] = None,
) -> None: ...


async def writes(item_id: int, body: Body, scope: Scope) -> None: ...


async def made(handler: Any, query: str, content: bytes = b"", json: Any = None) -> tuple[Any, Any, list[Any]]:
    """What `plan` makes, what FastAPI makes, and FastAPI's errors."""
    path = "/items/{item_id}"
    dependant = get_dependant(path=path, call=handler)
    request = Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/items/7",
            "headers": [(b"if-match", b'"3"'), (b"host", b"here")],
            "query_string": query.encode(),
            "path_params": {"item_id": "7"},
            "server": ("here", 80),
            "scheme": "http",
        }
    )
    request._json = json
    arguments = plan(dependant, body_is_embedded=False)
    assert arguments is not None
    found = await arguments(request, content)
    async with AsyncExitStack() as stack:
        request.scope.update(fastapi_inner_astack=stack, fastapi_function_astack=stack)
        solved = await solve_dependencies(
            request=request,
            dependant=dependant,
            **({"body": json} if content else {}),
            async_exit_stack=stack,
            embed_body_fields=False,
        )
    return found, solved.values, solved.errors


@pytest.mark.parametrize(
    "query", ["", "limit=3", "limit=3&limit=4", "tag=a", "tag=a&tag=b&status=x&status=y", "status="]
)
async def test_arguments_are_those_that_fastapi_makes(query: str) -> None:
    found, expected, errors = await made(lists, query)

    assert not errors
    assert found == expected


@pytest.mark.parametrize("query", ["limit=x", "limit=201", "unknown=1", "id=1"])
async def test_what_is_refused_is_left_to_fastapi(query: str) -> None:
    found, _, errors = await made(lists, query)

    assert found is None
    assert errors


@pytest.mark.parametrize(
    ("content", "json"), [(b'{"number": 1}', {"number": 1}), (b'{"number": "x"}', {"number": "x"}), (b"", None)]
)
async def test_a_body_is_validated_once_or_left_to_fastapi(content: bytes, json: Any) -> None:
    found, expected, errors = await made(writes, "limit=9", content, json)

    assert found == (None if errors else expected)
    assert bool(errors) == (json != {"number": 1})


async def test_a_handler_that_asks_for_more_is_left_to_fastapi() -> None:
    def waits() -> int:
        return 1

    async def handler(number: Annotated[int, Depends(waits)]) -> None: ...

    assert plan(get_dependant(path="/", call=handler), body_is_embedded=False) is None
