"""The OpenAPI document: the additions from a route's declaration, and the components of all services."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.access.principals import RouteAccess
from shared.api import problems, request_body
from shared.api.problems import Problem


def route_metadata(access: RouteAccess, rule: request_body.BodyRule) -> dict[str, Any]:
    schemes = {"pair": "merchantPair", "session": "session", "merchant_session": "session"}
    files = {media_type: {"schema": {"type": "string"}} for media_type in rule.media_types}
    names = [] if access.kind == "public" else sorted({schemes.get(via, "apiKey") for via in access.admits})
    return {
        "security": [{name: []} for name in names],
        "x-access": access.kind,
        "x-required-permission": access.permission,
        "x-admits": [] if access.kind == "public" else sorted(access.admits),
        "x-subscription-exempt": access.exempt_from_402,
        **({"requestBody": {"required": True, "content": files}} if files else {}),
    }


_ERRORS = {
    400: "Unreadable request or cursor",
    401: "No or wrong credentials",
    402: "The trial has ended or the subscription is unpaid",
    403: "Not allowed: tenant suspended, API access off, or permission missing",
    404: "Not found, or not visible to the caller",
    408: "The request has not arrived in time",
    409: "Conflicts with the present state",
    412: "If-Match names an older version",
    413: "Body too large",
    415: "Body is not JSON",
    422: "Invalid content: errors lists all that is wrong",
    429: "Too many requests: see Retry-After",
    500: "The service failed: the request may have been done or not",
    503: "Not now: see Retry-After",
}


def error_responses(access: RouteAccess) -> dict[int | str, dict[str, Any]]:
    # A public route may still check a password in the body and answer 401 or 403.
    hidden = {402} if access.kind == "public" or access.exempt_from_402 else set()
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": description, "content": content}
        for status, description in _ERRORS.items()
        if status not in hidden
    }


def build_document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = document.setdefault("components", {})
        components["securitySchemes"] = {
            "merchantPair": {"type": "http", "scheme": "basic", "description": "API Account ID and API Auth Key"},
            "session": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Session token"},
            "apiKey": {
                "type": "apiKey",
                "in": "header",
                "name": "X-Api-Key",
                "description": "User or platform API key",
            },
        }
        schemas = components.setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        # FastAPI adds its own error format, which no response has.
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        app.openapi_schema = document
    return app.openapi_schema
