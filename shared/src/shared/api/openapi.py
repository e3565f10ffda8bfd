"""The OpenAPI document: what FastAPI tells of the routes, and what all services have in common.

Headers and conditional requests follow from what a route does, not from what its author wrote beside it: a route that runs in a transaction
takes an `Idempotency-Key`, an answer with a `version` has an `ETag`.
"""

import asyncio
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.access.principals import RouteAccess
from shared.api import form_file, idempotency, problem_documents, problems, request_body
from shared.api.openapi_schemas import refine

if TYPE_CHECKING:
    from shared.api.routes import GuardedRoute

PATH = "/openapi.json"
CONTACT = {"name": "The operator of this installation"}
LICENSE = {"name": "Apache 2.0", "identifier": "Apache-2.0"}
SERVERS = [{"url": "/", "description": "The service that this document came from."}]

_SECURITY_SCHEMES = {
    "merchantPair": {
        "type": "http",
        "scheme": "basic",
        "description": "A merchant's API Account ID and API Auth Key.",
    },
    "session": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The token of a session of an administrator or a merchant.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "A user or platform API key. A platform key names the tenant in `X-Tenant-Id` or `X-Tenant-Name`.",
    },
}


def route_metadata(access: RouteAccess, rule: request_body.BodyRule) -> dict[str, Any]:
    schemes = {"pair": "merchantPair", "session": "session", "merchant_session": "session"}
    names = [] if access.kind == "public" else sorted({schemes.get(via, "apiKey") for via in access.admits})
    return {
        "security": [{name: []} for name in names],
        "x-access": access.kind,
        **({"x-required-permission": access.permission} if access.permission else {}),
        **({"x-or-permission": access.or_else} if access.or_else else {}),
        **({"x-owner-only": True} if access.owner_only else {}),
        "x-admits": [] if access.kind == "public" else sorted(access.admits),
        "x-subscription-exempt": access.exempt_from_402,
        **({"x-step-up": True} if access.step_up else {}),
        **({"requestBody": _file(rule.files)} if rule.files else {}),
    }


def _file(files: Mapping[str, str]) -> dict[str, Any]:
    # The form first: many generators of clients know one type of a body, and this one they know.
    example = next(iter(files.values()))
    form: dict[str, Any] = {"schema": form_file.schema(example), "example": {form_file.FIELD: example}}
    content = {form_file.MEDIA_TYPE: form}
    # A type with JSON in its name is left to the text: generated clients in Python would send each file as that, whatever it is.
    plain = {media_type: file for media_type, file in files.items() if "json" not in media_type}
    content |= {media_type: {"schema": {"type": "string"}, "example": file} for media_type, file in plain.items()}
    return {"required": True, "content": content}


_ERRORS: Mapping[int, tuple[str, str, str]] = {
    400: ("BadRequest", "json_malformed", "Unreadable request or cursor."),
    401: ("Unauthenticated", "credentials_missing", "No or wrong credentials."),
    402: ("PaymentRequired", "subscription_required", "The trial has ended or the subscription is unpaid."),
    403: (
        "Forbidden",
        "permission_missing",
        "Not allowed: the tenant is suspended, API access is off, or a permission is missing.",
    ),
    404: ("NotFound", "not_found", "Not found, or not visible to the caller."),
    408: ("RequestTimeout", "body_timeout", "The request has not arrived in time."),
    409: ("Conflict", "status_conflict", "Conflicts with the present state."),
    412: ("PreconditionFailed", "precondition_failed", "If-Match names an older version."),
    413: ("PayloadTooLarge", "payload_too_large", "The body is too large."),
    415: ("UnsupportedMediaType", "unsupported_media_type", "The body is of a type that is not read here."),
    422: ("Invalid", "invalid", "Invalid content: `errors` lists all that is wrong."),
    429: ("TooManyRequests", "rate_limited", "Too many requests: see Retry-After."),
    500: ("InternalError", "internal_error", "The service failed: the request may have been done or not."),
    503: ("Unavailable", "unavailable", "Not now: see Retry-After."),
}
"""By status: the name of the answer, the problem that is its example, and its description."""


def error_responses(access: RouteAccess) -> dict[int | str, dict[str, Any]]:
    # A public route may still check a password in the body and answer 401 or 403.
    hidden = {402} if access.kind == "public" or access.exempt_from_402 else set()
    return {status: {"description": text} for status, (_, _, text) in _ERRORS.items() if status not in hidden}


def _header(description: str, example: Any, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "description": description,
        "schema": {"type": kind, "examples": [example], **more.pop("limits", {})},
        **more,
    }


_HEADERS = {
    "X-Request-Id": _header(
        "Id of the request: the one that you sent in `X-Request-Id`, or a new one.",
        "req_01h455vb4pex5vsknk084sn02q",
        required=True,
    ),
    "ETag": _header("Version of the record: send it as `If-Match` or `If-None-Match`.", '"3"', required=True),
    "Location": _header("Path of the record.", "/v1/jobs/job_01h455vb4pex5vsknk084sn02q", required=True),
    "Idempotency-Replayed": _header("`true`: the stored answer to the first request with this key.", "true"),
    "RateLimit": _header(
        "What is left of the limit (draft-ietf-httpapi-ratelimit-headers).", '"credential";r=1999;t=1'
    ),
    "RateLimit-Policy": _header("The limit and its window in seconds.", '"credential";q=2000;w=1'),
    "Retry-After": _header("Seconds to wait before the request is repeated.", 1, "integer", limits={"minimum": 0}),
    "WWW-Authenticate": _header(
        "The kinds of credentials that are accepted.", 'Basic realm="waybill", Bearer realm="waybill"'
    ),
    "Revocation-Id": _header(
        "The revocation, if something was ended that was accepted until now: its receipt says since when each service refuses. "
        "The stored answer to an `Idempotency-Key` does not have it.",
        "rev_01h455vb4pex5vsknk084sn02q",
    ),
    "Content-Disposition": _header("Name of the file.", 'attachment; filename="jobs-20300131T090000Z.csv"'),
}
_OF_ERRORS = {401: ("WWW-Authenticate",), 429: ("Retry-After", "RateLimit", "RateLimit-Policy"), 503: ("Retry-After",)}

# Nothing is refused for its X-Request-Id, or for a tenant that a caller other than a platform key names, so these have no pattern.
_PARAMETERS = {
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "Your own id of the request, 1 to 128 letters, digits and `._:-`: the answer, our log and the audit trail have it. "
        "Anything else is replaced by a new id.",
        "schema": {"type": "string", "examples": ["6f9619ff-8b86-4d01-b42d-00cf4fc964ff"]},
    },
    "TenantId": {
        "name": "X-Tenant-Id",
        "in": "header",
        "description": "With a platform key: the tenant in which it acts. All other credentials belong to a tenant, and this is ignored.",
        "schema": {"type": "string", "examples": ["ten_01h455vb4pex5vsknk084sn02q"]},
    },
    "TenantName": {
        "name": "X-Tenant-Name",
        "in": "header",
        "description": "With a platform key: the tenant by its name, in any case, where `X-Tenant-Id` is not given.",
        "schema": {"type": "string", "examples": ["Boreal Couriers"]},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes repeats safe: the same request with the same key is done once, and its answer is repeated for 24 hours.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": idempotency.KEY_LENGTH_MAX,
            "pattern": "^[!-~]+$",
            "examples": ["6f9619ff-8b86-4d01-b42d-00cf4fc964ff"],
        },
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "Answer 304 without a body if the record still has this ETag.",
        "schema": {"type": "string", "examples": ['"3"']},
    },
}


@dataclass(frozen=True, slots=True)
class ApiDescription:
    """What the document of a service tells beside its routes."""

    text: str
    tags: Mapping[str, str] = field(default_factory=dict)
    """The groups of routes."""
    enums: Mapping[str, Any] = field(default_factory=dict)
    """Closed sets of values (`Literal`s) by the names that they get."""
    glossary: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """The service's own words (`read_glossary`)."""


def read_glossary(package: str) -> Mapping[str, Sequence[Any]]:
    """The `glossary.toml` of a package."""
    return tomllib.loads(files(package).joinpath("glossary.toml").read_text("utf-8"))


def build_document(app: FastAPI, description: ApiDescription) -> dict[str, Any]:
    """The document of this app; made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=description.text,
            routes=app.routes,
            tags=[{"name": name, "description": text} for name, text in description.tags.items()],
            servers=SERVERS,
            contact=CONTACT,
            license_info=LICENSE,
        )
        components = document.setdefault("components", {})
        components["securitySchemes"] = _SECURITY_SCHEMES
        schemas = components.setdefault("schemas", {})
        # FastAPI adds its own error format, which no response has.
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        schemas.update(_problem_schemas())
        for route in app.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for method in route.methods or ():
                    _complete(document["paths"][route.path_format][method.lower()], route)  # type: ignore[arg-type]
        refine(document, description.enums, {**read_glossary("shared.api"), **description.glossary})
        _add_components(document)
        app.openapi_schema = document
    return app.openapi_schema


def install(app: FastAPI) -> None:
    """Serve the document at `/openapi.json`. It is made with the first request, in a thread: it takes a second, and others have none."""
    made: asyncio.Task[bytes] | None = None

    def make() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    async def get_document(_: Request) -> Response:
        nonlocal made
        if made is None:
            made = asyncio.create_task(asyncio.to_thread(make))
        return Response(await asyncio.shield(made), media_type="application/json")

    app.router.routes.append(Route(PATH, get_document, methods=["GET"], include_in_schema=False))


def _add_components(document: dict[str, Any]) -> None:
    """Add the components to which operations refer."""
    answers = {name: _problem_response(status, code, text) for status, (name, code, text) in _ERRORS.items()}
    schemas = document["components"]["schemas"]
    for kind, known in (
        ("responses", answers),
        ("headers", _HEADERS),
        ("parameters", _PARAMETERS),
        ("schemas", schemas),
    ):
        text = json.dumps(document)
        used = {name: one for name, one in known.items() if f'"#/components/{kind}/{name}"' in text}
        if used:
            document["components"][kind] = used


def _problem_schemas() -> dict[str, Any]:
    kinds: list[type[BaseModel]] = [problem_documents.Problem, *problem_documents.KINDS.values()]
    _, found = models_json_schema(
        [(kind, "serialization") for kind in kinds], ref_template="#/components/schemas/{model}"
    )
    made: dict[str, Any] = found["$defs"]
    return made


def _problem_response(status: int, code: str, text: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{problem_documents.kind_of(status).__name__}"}
    return {
        "description": text,
        "headers": _references("headers", ("X-Request-Id", *_OF_ERRORS.get(status, ()))),
        "content": {problems.MEDIA_TYPE: {"schema": schema, "example": problem_documents.example(code)}},
    }


def _complete(operation: dict[str, Any], route: "GuardedRoute") -> None:
    """Add the headers of requests and answers."""
    responses = operation["responses"]
    for status, (name, _, _) in _ERRORS.items():
        if str(status) in responses:
            responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
    has_etag = _has_version(route.response_model)
    headers = ["X-Request-Id"]
    if route.access.kind != "public":
        headers += ["RateLimit", "RateLimit-Policy"]
    added = ["RequestId"]
    if _acts_in_a_tenant(route.access):
        added += ["TenantId", "TenantName"]
    if route.takes_idempotency_key:
        added.append("IdempotencyKey")
        headers.append("Idempotency-Replayed")
    if has_etag and "GET" in (route.methods or ()):
        added.append("IfNoneMatch")
        responses["304"] = {"description": "Not changed: the record still has this ETag."}
    for status, response in responses.items():
        if status.startswith(("2", "3")):
            own = [*headers, "ETag"] if has_etag else headers
            if route.location is not None and status in ("201", "202"):
                own = [*own, "Location"]
            response["headers"] = {**_references("headers", own), **response.get("headers", {})}
    operation.setdefault("parameters", []).extend(_references("parameters", added).values())
    if "requestBody" in operation:
        operation["requestBody"].setdefault("required", False)


def _acts_in_a_tenant(access: RouteAccess) -> bool:
    """Whether a platform key may name the tenant in which it acts."""
    of_platform = (access.permission or "").startswith("platform.")
    return access.kind != "public" and "platform_key" in access.admits and not of_platform


def _references(kind: str, names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/{kind}/{name}"} for name in names}


def also_answers(status: int, *headers: str) -> dict[int | str, dict[str, Any]]:
    """For the `responses` of a route: headers of this answer that not every route has."""
    return {status: {"headers": _references("headers", headers)}}


def _has_version(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel) and "version" in model.model_fields
