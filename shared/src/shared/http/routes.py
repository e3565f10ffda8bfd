"""Routes that declare who may call them, and the one path that every request takes through them.

A handler carries exactly one of `public`, `authenticated`, `requires` or `merchant_only`; a route without one cannot be made, so the app
refuses to start. Before the body is read the caller is decided; then the body is bounded and parsed; then the handler runs, inside one
transaction when it asks for one, which is committed before the answer leaves.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, TypeVar

from fastapi import APIRouter, Depends, Header, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from shared.auth.access import Access, Credentials
from shared.auth.decisions import ADMINISTRATION, EVERYONE, Caller, RouteAccess, Via, unknown_codes
from shared.auth.seal import KeyRing
from shared.database import Database
from shared.errors import PreconditionFailed, Unauthenticated
from shared.http import bodies, idempotency, problems
from shared.http.limits import RateLimits

HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[Any]])

_DECLARATION = "__waybill_access__"
_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class RouteUndeclared(Exception):
    """A route does not say who may call it, or says it wrongly: a mistake of ours, found when the app is made."""


class Input(BaseModel):
    """Base of what clients send: unknown fields are refused, text is stripped, numbers are finite."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class Secret(BaseModel):
    """Base of answers that hold a secret: `Cache-Control: no-store`, and never kept for an Idempotency-Key."""

    no_store: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Edge:
    """What every route of an app works with; the composition root puts it on `app.state.edge`."""

    database: Database
    access: Access
    limits: RateLimits
    body_bytes_max: int
    cursor_secret: bytes
    stored_answers: KeyRing


# -- declarations ----------------------------------------------------------------------------------------------------------


def public() -> Callable[[HandlerT], HandlerT]:
    """Open to anybody."""
    return _declare(RouteAccess("public", exempt_from_402=True))


def authenticated(
    *, merchant_pair: bool = False, merchant_session: bool = False, exempt_from_402: bool = False
) -> Callable[[HandlerT], HandlerT]:
    """Open to any caller of the admitted kinds, whatever their permissions."""
    return _declare(RouteAccess("authenticated", None, _admits(merchant_pair, merchant_session), exempt_from_402))


def requires(
    permission: str, *, merchant_pair: bool = False, merchant_session: bool = False, exempt_from_402: bool = False
) -> Callable[[HandlerT], HandlerT]:
    """Open to callers of the admitted kinds who hold this permission."""
    return _declare(RouteAccess("requires", permission, _admits(merchant_pair, merchant_session), exempt_from_402))


def merchant_only(*, exempt_from_402: bool = False) -> Callable[[HandlerT], HandlerT]:
    """Open to a merchant in its own session, and to nobody else."""
    return _declare(RouteAccess("authenticated", None, frozenset({"merchant_session"}), exempt_from_402))


def session_only(*, exempt_from_402: bool = False) -> Callable[[HandlerT], HandlerT]:
    """Open to people in a session, administrators and merchants, and to no key."""
    return _declare(RouteAccess("authenticated", None, frozenset({"session", "merchant_session"}), exempt_from_402))


def _admits(merchant_pair: bool, merchant_session: bool) -> frozenset[Via]:
    if merchant_pair and merchant_session:
        return EVERYONE
    pair: frozenset[Via] = frozenset({"pair"}) if merchant_pair else frozenset()
    session: frozenset[Via] = frozenset({"merchant_session"}) if merchant_session else frozenset()
    return ADMINISTRATION | pair | session


def _declare(access: RouteAccess) -> Callable[[HandlerT], HandlerT]:
    def mark(handler: HandlerT) -> HandlerT:
        if hasattr(handler, _DECLARATION):
            raise RouteUndeclared(f"{handler.__name__} declares its access twice")
        setattr(handler, _DECLARATION, access)
        return handler

    return mark


# -- what handlers ask for -------------------------------------------------------------------------------------------------


async def _transaction(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


async def _reading(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


async def _searching(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


async def _claim(request: Request) -> idempotency.Claim | None:
    return idempotency.claim_of(request, request.state.caller, request.scope["route"].path, await request.body())


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


class _IfMatch:
    """The caller's `If-Match`, to be checked against the version of the row that a write is about to change."""

    def __init__(self, value: str | None):
        self._versions = (
            None if value is None or value.strip() == "*" else {_version_in(tag) for tag in value.split(",")}
        )

    def check(self, version: int) -> None:
        """Raises `PreconditionFailed` when the row has another version than the caller has seen."""
        if self._versions is not None and str(version) not in self._versions:
            raise PreconditionFailed("the resource has changed since you read it", current_version=version)


async def _if_match(
    if_match: Annotated[
        str | None, Header(max_length=256, description="Change only if the resource still has this ETag; else 412.")
    ] = None,
) -> _IfMatch:
    return _IfMatch(if_match)


Transaction = Annotated[AsyncSession, Depends(_transaction)]
"""The request's transaction: committed before the answer is sent, rolled back on every error."""
Reading = Annotated[AsyncSession, Depends(_reading)]
"""A session for reads; each statement sees what is committed when it starts."""
Searching = Annotated[AsyncSession, Depends(_searching)]
"""The same for searches: its statements are planned for their values, on connections that searches have to themselves."""
CurrentCaller = Annotated[Caller, Depends(_caller)]
IfMatch = Annotated[_IfMatch, Depends(_if_match)]
IdempotencyClaim = Annotated[idempotency.Claim | None, Depends(_claim)]
"""What the request's Idempotency-Key claims, for a handler whose write is committed together with others' (`shared.http.grouping`)."""


def etag(version: int, variant: str | None = None) -> str:
    """Strong entity tag of a version; `variant` tells apart what one version can look like at different moments."""
    return f'"{version}"' if variant is None else f'"{version}.{variant}"'


def _version_in(tag: str) -> str | None:
    """The version that a strong entity tag of ours names."""
    tag = tag.strip()
    return tag[1:-1].partition(".")[0] if len(tag) > 2 and tag[0] == tag[-1] == '"' else None


# -- the route -------------------------------------------------------------------------------------------------------------


class GuardedRoute(APIRoute):
    """A route with a declared access; see the module."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any):
        access: RouteAccess | None = getattr(endpoint, _DECLARATION, None)
        if access is None:
            raise RouteUndeclared(f"{path}: {endpoint.__name__} declares neither public, authenticated nor requires(…)")
        if unknown_codes([access.permission]):
            raise RouteUndeclared(f"{path}: the permission {access.permission} is not in the catalogue")
        self.access = access
        self.body_rule = bodies.rule_of(endpoint)
        options["operation_id"] = endpoint.__name__
        options["summary"] = options.get("summary") or (endpoint.__doc__ or endpoint.__name__).strip().splitlines()[
            0
        ].rstrip(".")
        options["openapi_extra"] = {**_openapi(access, self.body_rule), **(options.get("openapi_extra") or {})}
        options["responses"] = {**_error_responses(access), **(options.get("responses") or {})}
        super().__init__(path, _answering(endpoint, options.get("status_code") or 200), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        expects_body = self.body_field is not None
        body_optional = self.body_field is not None and not self.body_field.field_info.is_required()
        rule = self.body_rule
        in_transaction = _asks_for(self.dependant, _transaction)
        reads, searches = _asks_for(self.dependant, _reading), _asks_for(self.dependant, _searching)

        async def handle(request: Request) -> Response:
            edge: Edge = request.app.state.edge
            caller, headers = await self._admit(edge, request)
            body = b""
            if rule.media_types:
                bodies.require_file(request, rule)
            elif request.method in _WRITING:
                body = await bodies.read(
                    request,
                    bytes_max=rule.bytes_max or edge.body_bytes_max,
                    expects_body=expects_body,
                    body_optional=body_optional,
                    by_parts=rule.by_parts,
                )
            if in_transaction:
                response = await self._in_transaction(edge, request, caller, body, answer)
            elif reads or searches:
                async with edge.database.searching() if searches else edge.database.reading() as session:
                    request.state.session = session
                    response = await answer(request)
            else:
                response = await answer(request)
            response = _not_modified(request, response)
            response.raw_headers.extend((name.lower().encode(), value.encode()) for name, value in headers.items())
            return response

        return handle

    async def _admit(self, edge: Edge, request: Request) -> tuple[Caller | None, dict[str, str]]:
        if self.access.kind == "public":
            return None, {}
        address = request.client.host if request.client else ""
        edge.limits.check_address(address)
        headers = request.headers
        presented = Credentials(
            headers.get("authorization"),
            headers.get("x-api-key"),
            headers.get("x-tenant-id"),
            headers.get("x-tenant-name"),
        )
        try:
            caller = await edge.access.caller(presented, self.access, datetime.now(UTC))
        except Unauthenticated as error:
            if error.problem_code == "credentials_wrong":
                edge.limits.count_failure(address)
            raise
        request.state.caller = caller
        request.scope["waybill.caller"] = caller
        return caller, edge.limits.admit(caller)

    async def _in_transaction(
        self,
        edge: Edge,
        request: Request,
        caller: Caller | None,
        body: bytes,
        answer: Callable[[Request], Coroutine[Any, Any, Response]],
    ) -> Response:
        claim = (
            idempotency.claim_of(request, caller, self.path, body) if caller and request.method in _WRITING else None
        )
        async with edge.database.transaction() as session:
            request.state.session = session
            if claim is None:
                return await answer(request)
            request_id = problems.request_id_of(request)
            return await idempotency.run(session, claim, edge.stored_answers, request_id, lambda: answer(request))


class Router(APIRouter):
    """A router whose routes are guarded. It is put into an app as it is (`shared.http.app`), without a prefix."""

    def __init__(self, *, tags: list[str]):
        super().__init__(tags=list(tags), route_class=GuardedRoute)


def _answering(endpoint: Callable[..., Awaitable[Any]], status_code: int) -> Callable[..., Awaitable[Response]]:
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


def _not_modified(request: Request, response: Response) -> Response:
    if request.method != "GET" or "etag" not in response.headers:
        return response
    known = request.headers.get("if-none-match")
    if known is None or response.headers["etag"] not in {tag.strip() for tag in known.split(",")}:
        return response
    return Response(status_code=304, headers={"ETag": response.headers["etag"]})


def _asks_for(dependant: Dependant, call: Callable[..., Any]) -> bool:
    return any(one.call is call or _asks_for(one, call) for one in dependant.dependencies)


def _openapi(access: RouteAccess, rule: bodies.BodyRule) -> dict[str, Any]:
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


class ProblemError(BaseModel):
    """One violation: `pointer` names a place in the body, `parameter` one outside it."""

    pointer: str | None = None
    parameter: str | None = None
    code: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[ProblemError] = []


_ERRORS = {
    400: "Unreadable request or cursor",
    401: "No or wrong credentials",
    402: "The trial has ended or the subscription is unpaid",
    403: "Not allowed: tenant suspended, API access off, or permission missing",
    404: "Not found, or not visible to the caller",
    409: "Conflicts with the present state",
    412: "If-Match names an older version",
    413: "Body too large",
    415: "Body is not JSON",
    422: "Invalid content: errors lists all that is wrong",
    429: "Too many requests: see Retry-After",
    500: "Our fault",
    503: "Not now: see Retry-After",
}


def _error_responses(access: RouteAccess) -> dict[int | str, dict[str, Any]]:
    # What is public may still look at a password or a signature in the body, and refuse it.
    hidden = {402} if access.kind == "public" or access.exempt_from_402 else set()
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": description, "content": content}
        for status, description in _ERRORS.items()
        if status not in hidden
    }
