"""Guarded routes, and the path that every request takes through them.

A route without a declaration (`shared.api.declarations`) cannot be made, so the app refuses to start. First the caller is authenticated
and authorized; then the body is read, up to its limit, and parsed; then query parameters that the route does not have are refused, since
they are probably misspelt filters; then the handler runs. A handler that takes a `Transaction` runs in one
transaction, in which the caller's access is checked again, and which is committed before the response is sent.
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from fastapi import APIRouter, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.access.authorization import unknown_codes
from shared.access.principals import Caller, PresentedCredentials, Principal, RouteAccess
from shared.api import answer_headers, file_intake, idempotency, request_body
from shared.api.arguments import plan
from shared.api.declarations import ACCESS_ATTRIBUTE, RouteUndeclared
from shared.api.dependencies import idempotency_claim, reading_session, searching_session, transaction_session
from shared.api.edge import Edge, edge_of
from shared.api.entity_tags import not_modified
from shared.api.locations import location_of
from shared.api.openapi import error_responses, route_metadata
from shared.api.problems import VIOLATIONS_MAX
from shared.api.responses import with_json_response
from shared.api.transactions import run_in_transaction
from shared.errors import Invalid, Unauthenticated, Violation, invalid

_GUESSES = frozenset({"credentials_wrong", "token_key_unknown", "token_forged"})
"""Refusals that count as failed authentication of an address; good credentials pass, whoever shares it."""
_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class GuardedRoute(APIRoute):
    """A route with a declared access; see the module."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any):
        access: RouteAccess | None = getattr(endpoint, ACCESS_ATTRIBUTE, None)
        if access is None:
            raise RouteUndeclared(f"{path}: {endpoint.__name__} declares neither public, authenticated nor requires(…)")
        if unknown_codes([access.permission, access.or_else]):
            raise RouteUndeclared(f"{path}: the permission {access.permission} is not in the catalogue")
        self.access = access
        self.body_rule = request_body.rule_of(endpoint)
        options["operation_id"] = endpoint.__name__
        options["summary"] = options.get("summary") or (endpoint.__doc__ or endpoint.__name__).strip().splitlines()[
            0
        ].rstrip(".")
        options["openapi_extra"] = {**route_metadata(access, self.body_rule), **(options.get("openapi_extra") or {})}
        options["responses"] = {**error_responses(access), **(options.get("responses") or {})}
        self.location: str | None = None
        """Where the record is that this route makes, without its id (`shared.api.locations`)."""
        self.literal_paths: frozenset[str] = frozenset()
        """The paths of the app's routes without parameters (`shared.api.app`)."""
        super().__init__(path, with_json_response(endpoint, options.get("status_code") or 200), **options)
        self.app = self._serving(self.get_route_handler())
        self.takes_idempotency_key = (
            access.kind != "public"
            and not _WRITING.isdisjoint(self.methods or ())
            and any(
                _asks_for(self.dependant, call) for call in (transaction_session, idempotency_claim, file_intake.upload)
            )
        )

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As usual, except that a path which another route spells out is no id: /v1/sessions/refresh is no session."""
        match, child = super().matches(scope)
        if match is not Match.NONE and self.param_convertors and scope["path"] in self.literal_paths:
            return Match.NONE, {}
        return match, child

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = self._answer(super().get_route_handler())
        expects_body = self.body_field is not None
        body_optional = self.body_field is not None and not self.body_field.field_info.is_required()
        rule = self.body_rule
        is_public = self.access.kind == "public"
        parameters = frozenset(_query_parameters(self.dependant))
        in_transaction = _asks_for(self.dependant, transaction_session)
        reads, searches = _asks_for(self.dependant, reading_session), _asks_for(self.dependant, searching_session)

        async def handle(request: Request) -> Response:
            edge = edge_of(request)
            caller, headers = await self._admit(edge, request)
            body = b""
            if rule.files:
                request_body.require_file(request, rule)
            elif request.method in _WRITING:
                with edge.arriving_bodies.one_of(_sender(request, caller)) as count:
                    body = await request_body.read(
                        request,
                        count=count,
                        bytes_max=rule.bytes_max or (edge.public_body_bytes_max if is_public else edge.body_bytes_max),
                        idle_seconds=edge.body_idle_seconds,
                        seconds_max=edge.body_seconds,
                        expects_body=expects_body,
                        body_optional=body_optional,
                        by_parts=rule.by_parts,
                    )
            if request.scope["query_string"] and (unknown := set(request.query_params) - parameters):
                raise _no_such_parameters(sorted(unknown), parameters)
            if in_transaction:
                response = await self._in_transaction(request, caller, body, answer)
            elif reads or searches:
                async with edge.database.searching() if searches else edge.database.reading() as session:
                    request.state.session = session
                    response = await answer(request, body)
            else:
                response = await answer(request, body)
            response = not_modified(request, response)
            if self.location is not None and (made_at := location_of(self.location, request, response)):
                response.headers["Location"] = made_at
            headers = {**headers, **answer_headers.kept(request)}
            response.raw_headers.extend((name.lower().encode(), value.encode()) for name, value in headers.items())
            return response

        return handle

    def _answer(
        self, fastapi_answer: Callable[[Request], Coroutine[Any, Any, Response]]
    ) -> Callable[[Request, bytes], Coroutine[Any, Any, Response]]:
        """The handler's answer to a request whose body has been read. FastAPI makes what `arguments` does not."""
        arguments = None
        if not self.body_rule.files:
            arguments = plan(self.dependant, body_is_embedded=self._embed_body_fields)
        endpoint = self.endpoint

        async def answer(request: Request, body: bytes) -> Response:
            found = None if arguments is None else await arguments(request, body)
            if found is not None:
                response: Response = await endpoint(**found)
                return response
            # FastAPI looks for these where its own wrapper of a handler puts them; no handler here leaves anything in them.
            async with AsyncExitStack() as of_request, AsyncExitStack() as of_function:
                request.scope.update(fastapi_inner_astack=of_request, fastapi_function_astack=of_function)
                return await fastapi_answer(request)

        return answer

    @staticmethod
    def _serving(handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> ASGIApp:
        """The route as an app. What `handle` raises becomes an answer in the middleware around all routes."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            response = await handle(request)
            await response(scope, receive, send)

        return serve

    async def _admit(self, edge: Edge, request: Request) -> tuple[Caller | None, dict[str, str]]:
        if self.access.kind == "public":
            return None, {}
        address = request.client.host if request.client else ""
        headers = request.headers

        def on_verified(principal: Principal) -> None:
            request.scope["waybill.principal"] = principal

        presented = PresentedCredentials(
            headers.get("authorization"),
            headers.get("x-api-key"),
            headers.get("x-tenant-id"),
            headers.get("x-tenant-name"),
            request.path_params.get("tenant_id"),
            on_verified,
        )
        try:
            caller = await edge.access.caller(presented, self.access, datetime.now(UTC))
        except Unauthenticated as error:
            if error.problem_code in _GUESSES:
                edge.limits.charge_failure(address)
            raise
        request.state.caller = caller
        request.scope["waybill.caller"] = caller
        return caller, edge.limits.admit(caller)

    async def _in_transaction(
        self,
        request: Request,
        caller: Caller | None,
        body: bytes,
        answer: Callable[[Request, bytes], Coroutine[Any, Any, Response]],
    ) -> Response:
        claim = (
            idempotency.claim_of(request, caller, self.path, body) if caller and request.method in _WRITING else None
        )

        async def work(session: AsyncSession) -> Response:
            request.state.session = session
            return await answer(request, body)

        return await run_in_transaction(request, claim, work)


class Router(APIRouter):
    """A router whose routes are guarded. It is put into an app as it is (`shared.api.app`), without a prefix."""

    def __init__(self, *, tags: list[str]):
        super().__init__(tags=list(tags), route_class=GuardedRoute)


def _sender(request: Request, caller: Caller | None) -> str:
    """Whose body it is: that of a credential, or of an address."""
    if caller is None:
        return request.client.host if request.client else ""
    return caller.credential_id or caller.subject_id or ""


def _query_parameters(dependant: Dependant) -> Iterator[str]:
    """The names of all query parameters, with those of models of parameters."""
    for parameter in dependant.query_params:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from (field.alias or name for name, field in model.model_fields.items())
        else:
            yield parameter.alias
    for one in dependant.dependencies:
        yield from _query_parameters(one)


def _no_such_parameters(names: list[str], known: frozenset[str]) -> Invalid:
    def message(name: str) -> str:
        nearest = get_close_matches(name, known, 1)
        return f"no such parameter here; did you mean {nearest[0]}?" if nearest else "no such parameter here"

    listed = names[:VIOLATIONS_MAX]
    return invalid(*(Violation("", "extra_forbidden", message(name), parameter=name) for name in listed))


def _asks_for(dependant: Dependant, call: Callable[..., Any]) -> bool:
    return any(one.call is call or _asks_for(one, call) for one in dependant.dependencies)
