"""JSON responses from models, with `ETag` and `Cache-Control`."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from shared.api.entity_tags import etag
from shared.api.pagination import Documents


def with_json_response(endpoint: Callable[..., Awaitable[Any]], status_code: int) -> Callable[..., Awaitable[Response]]:
    """Wrap a handler so that it returns JSON: FastAPI would validate and encode its result a second time."""

    @functools.wraps(endpoint)
    async def answer(**arguments: Any) -> Response:
        result = await endpoint(**arguments)
        if result is None:
            return Response(status_code=204)
        if isinstance(result, Documents):
            headers = {"Cache-Control": "private, no-cache"}
            return Response(result.content(), status_code, headers, media_type="application/json")
        return result if isinstance(result, Response) else render(result, status_code)

    return answer


def render(result: BaseModel, status_code: int) -> Response:
    """The response with this model: its version is the `ETag`."""
    headers = {"Cache-Control": "no-store" if getattr(result, "no_store", False) else "private, no-cache"}
    version = getattr(result, "version", None)
    if isinstance(version, int):
        headers["ETag"] = etag(version, getattr(result, "variant", None))
    content = result.__pydantic_serializer__.to_json(result)
    return Response(content, status_code, headers, media_type="application/json")
