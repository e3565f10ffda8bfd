"""Errors as `application/problem+json` (RFC 9457), with a stable `code` and all violations of a request."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from shared.errors import Invalid, Violation, WaybillError, invalid
from shared.problem_types import title_of, type_of

MEDIA_TYPE = "application/problem+json"
NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
VIOLATIONS_MAX = 100

_ROUTER_CODES = {
    NOT_FOUND: ("route_not_found", "No such route"),
    METHOD_NOT_ALLOWED: ("method_not_allowed", "Method not allowed"),
}


class ProblemResponse(Response):
    """A problem document, which tells the edge its code."""

    media_type = MEDIA_TYPE

    def __init__(self, body: bytes, *, code: str, status_code: int, headers: Mapping[str, str] | None = None):
        super().__init__(body, status_code=status_code, headers=headers)
        self.code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["waybill.problem_code"] = self.code
        await super().__call__(scope, receive, send)


def problem(error: WaybillError, request_id: str) -> Response:
    """The response for this error."""
    return _response(members(error, request_id), error.headers)


def members(error: WaybillError, request_id: str) -> dict[str, Any]:
    """The members of this error's problem document, for a response that reports several errors."""
    violations = error.violations if isinstance(error, Invalid) else ()
    return _members(
        error.status,
        error.problem_code,
        error.title,
        error.detail,
        request_id,
        violations=violations,
        extra=error.extra,
    )


def document(
    status: int,
    code: str,
    title: str,
    detail: str,
    request_id: str,
    *,
    violations: Iterable[Violation] = (),
    extra: dict[str, object] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem document as a response."""
    return _response(_members(status, code, title, detail, request_id, violations=violations, extra=extra), headers)


def _members(
    status: int,
    code: str,
    title: str,
    detail: str,
    request_id: str,
    *,
    violations: Iterable[Violation],
    extra: dict[str, object] | None,
) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": type_of(code),
        "title": title_of(code, title),
        "status": status,
        "detail": detail,
        "instance": request_id,
        "code": code,
        **(extra or {}),
    }
    listed = [violation.as_json() for violation in violations][:VIOLATIONS_MAX]
    if listed:
        content["errors"] = listed
    return content


def _response(content: dict[str, Any], headers: dict[str, str] | None) -> Response:
    body = json.dumps(content, default=_plain, ensure_ascii=False).encode("utf-8", "replace")
    return ProblemResponse(body, code=content["code"], status_code=content["status"], headers=headers)


def install(app: FastAPI) -> None:
    """Turn the errors that handlers and the router raise into problem documents."""

    async def on_waybill_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, WaybillError)
        return problem(error, request_id_of(request))

    async def on_validation_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem(_refusal(error), request_id_of(request))

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code, title = _ROUTER_CODES.get(error.status_code, ("http_error", "HTTP error"))
        headers = dict(error.headers) if error.headers else None
        detail = str(error.detail)
        if error.status_code == NOT_FOUND and request.url.path.endswith("/"):
            detail = "there is no such route: paths have no slash at their end"
        if error.status_code == METHOD_NOT_ALLOWED:
            headers = {"Allow": ", ".join(_methods_at(request))}
        return document(error.status_code, code, title, detail, request_id_of(request), headers=headers)

    app.add_exception_handler(WaybillError, on_waybill_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)


def _methods_at(request: Request) -> list[str]:
    """All methods of this path: the router names only the methods of its first route."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    # A literal path is not also an id in the path of another route.
    literal = [route for route in matching if getattr(route, "path", None) == request.url.path]
    methods = {method for route in literal or matching for method in getattr(route, "methods", None) or ()}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _refusal(error: RequestValidationError) -> Invalid:
    return invalid(*(_violation(found) for found in error.errors()))


def request_id_of(request: Request) -> str:
    """The id of this request."""
    return str(request.scope.get("waybill.request_id", ""))


def pointer(path: Iterable[object]) -> str:
    """JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _violation(found: Any) -> Violation:
    place, *path = found["loc"] or ("body",)
    message = str(found["msg"])
    if place == "body":
        return Violation(pointer(path), str(found["type"]), message)
    return Violation("", str(found["type"]), message, parameter=".".join(str(part) for part in path))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
