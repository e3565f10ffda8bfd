"""Models as JSON responses, with the headers that follow from them."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from shared.api.entity_tags import etag


def with_json_response(endpoint: Callable[..., Awaitable[Any]], status_code: int) -> Callable[..., Awaitable[Response]]:
    """The handler with its result already written as JSON: FastAPI would validate and encode it a second time."""

    @functools.wraps(endpoint)
    async def answer(**arguments: Any) -> Response:
        result = await endpoint(**arguments)
        if result is None:
            return Response(status_code=204)
        return result if isinstance(result, Response) else render(result, status_code)

    return answer


def render(result: BaseModel, status_code: int) -> Response:
    """A model as an answer, with the headers that follow from it."""
    headers = {"Cache-Control": "no-store" if getattr(result, "no_store", False) else "private, no-cache"}
    version = getattr(result, "version", None)
    if isinstance(version, int):
        headers["ETag"] = etag(version, getattr(result, "variant", None))
    content = result.__pydantic_serializer__.to_json(result)
    return Response(content, status_code, headers, media_type="application/json")
