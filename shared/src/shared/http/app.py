"""One service's HTTP application: guarded routes, problem documents, health, metrics, request ids, traces, and its parts' lifespan."""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
import uuid_utils
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from opentelemetry import context as trace_context
from opentelemetry import trace
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import telemetry
from shared.auth.access import Access
from shared.auth.seal import KeyRing
from shared.config import ServiceSettings
from shared.database import Database
from shared.http import problems, whoami
from shared.http.limits import RateLimits
from shared.http.routes import Edge, GuardedRoute, Problem, Router, RouteUndeclared
from shared.runtime import Part, lifespan
from shared.telemetry import Metrics

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_TRANSIENT_SQLSTATES = {"40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53300", "25P03", "25P04"}
_API_VERSION = "1.0.0"


def create_app(
    *,
    service: str,
    description: str,
    settings: ServiceSettings,
    database: Database,
    access: Access,
    stored_answers: KeyRing,
    metrics: Metrics,
    routers: Sequence[Router],
    parts: Sequence[Part],
    ready: Sequence[Callable[[], Awaitable[None]]] = (),
) -> FastAPI:
    """The application of one service in this process's roles. Raises `RouteUndeclared` when a route does not say who may call it."""

    async def before() -> None:
        app.state.draining = False

    app = FastAPI(
        title=f"Waybill {service}",
        version=_API_VERSION,
        description=description,
        openapi_url="/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        # Our own middleware makes the spans and metrics of every request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=lifespan([Part("access", access.run), *parts], settings=settings, before=before, after=database.close),
    )
    app.state.draining = False
    app.state.edge = Edge(
        database=database,
        access=access,
        limits=RateLimits(
            credential_rate=settings.credential_rate_per_second,
            tenant_rate=settings.tenant_rate_per_second,
            failures_per_minute=settings.failed_authentications_per_minute,
        ),
        body_bytes_max=settings.body_bytes_max,
        cursor_secret=settings.secret_bytes,
        stored_answers=stored_answers,
    )
    problems.install(app)
    if "api" in settings.role_set:
        for router in (*routers, whoami.router()):
            app.router.routes.extend(router.routes)
    _add_operations(app, settings, database, access, metrics, ready)
    _require_declared(app)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    app.add_middleware(
        EdgeMiddleware,
        service=service,
        metrics=metrics,
        in_flight_max=settings.requests_in_flight_max,
        verbose=settings.log_level == "DEBUG",
        operations=frozenset({"/livez", "/readyz", settings.metrics_path}),
    )
    return app


def _require_declared(app: FastAPI) -> None:
    for route in app.routes:
        if isinstance(route, APIRoute) and not isinstance(route, GuardedRoute):
            raise RouteUndeclared(f"{route.path} is not a guarded route: make it with shared.http.Router")


def _add_operations(
    app: FastAPI,
    settings: ServiceSettings,
    database: Database,
    access: Access,
    metrics: Metrics,
    ready: Sequence[Callable[[], Awaitable[None]]],
) -> None:
    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def readyz(_: Request) -> Response:
        problem = "draining" if app.state.draining else await _not_ready(database, ready)
        if problem is None and "api" in settings.role_set:
            staleness = access.staleness_seconds(datetime.now(UTC))
            problem = "access data are not current yet" if staleness > settings.access_max_staleness_seconds else None
        if problem is not None:
            return JSONResponse({"status": "not ready", "reason": problem}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def exposition(_: Request) -> Response:
        content, media_type = metrics.exposition()
        return Response(content, media_type=media_type)

    for path, endpoint in (("/livez", livez), ("/readyz", readyz), (settings.metrics_path, exposition)):
        app.router.routes.append(Route(path, endpoint, methods=["GET"], include_in_schema=False))


async def _not_ready(database: Database, ready: Sequence[Callable[[], Awaitable[None]]]) -> str | None:
    for check in (database.ping, *ready):
        try:
            await check()
        except Exception as error:
            # Whatever keeps a part from working is what an operator needs to read here.
            return f"{type(error).__name__}: {error}"
    return None


def _document(app: FastAPI) -> dict[str, Any]:
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
        # What FastAPI adds for its own error format, which no answer of ours has.
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        app.openapi_schema = document
    return app.openapi_schema


class EdgeMiddleware:
    """Around every request: an id, a trace, a bound on how many are under way, a metric and a log line, and no unanswered error."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: str,
        metrics: Metrics,
        in_flight_max: int,
        verbose: bool,
        operations: frozenset[str],
    ):
        self._app = app
        self._service = service
        self._in_flight_max = in_flight_max
        self._in_flight = 0
        self._metrics = metrics
        self._verbose = verbose
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{uuid_utils.uuid7().hex}"
        scope["waybill.request_id"] = request_id
        exchange = _Exchange(send, request_id)
        started = time.perf_counter()
        self._in_flight += 1
        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        token = trace_context.attach(telemetry.extracted(carrier))
        try:
            with (
                structlog.contextvars.bound_contextvars(request_id=request_id),
                telemetry.tracer().start_as_current_span(scope["method"], kind=trace.SpanKind.SERVER) as span,
            ):
                await self._answer(scope, receive, exchange)
                route = self._route(scope)
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.response.status_code", exchange.status)
                seconds = time.perf_counter() - started
                self._metrics.http_requests.labels(scope["method"], route, exchange.status).inc()
                self._metrics.http_duration_seconds.labels(scope["method"], route).observe(seconds)
                self._log(scope, route, exchange.status, seconds)
        finally:
            self._in_flight -= 1
            trace_context.detach(token)

    async def _answer(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        path = scope["path"]
        if self._in_flight > self._in_flight_max and path not in self._operations:
            await _unavailable(exchange.request_id, "too many requests are under way", "overloaded")(
                scope, receive, exchange.send
            )
            return
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as error:
            transient = is_transient(error)
            log.error("request_failed", path=path, transient=transient, exc_info=not transient, error=repr(error))
            if exchange.started:
                raise
            answer = (
                _unavailable(exchange.request_id, "a component that this needs is not available", "unavailable")
                if transient
                else problems.document(
                    500, "internal_error", "Internal error", "something went wrong", exchange.request_id
                )
            )
            await answer(scope, receive, exchange.send)

    def _route(self, scope: Scope) -> str:
        """The template of the route, for metrics and logs: never a path that somebody made up."""
        route = scope.get("route")
        if route is not None:
            return str(route.path)
        return scope["path"] if scope["path"] in self._operations else "unmatched"

    def _log(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        expected = status < 400 or route in ("/readyz", "/livez")
        if expected and not self._verbose:
            return
        caller = scope.get("waybill.caller")
        level = log.debug if expected else log.info
        level(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
            tenant_id=caller.tenant_id_or_none if caller else None,
            actor=caller.actor if caller else None,
        )


class _Exchange:
    """What has been answered so far."""

    def __init__(self, send: Send, request_id: str):
        self._send = send
        self.request_id = request_id
        self.status = 500
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            ours = ((b"x-request-id", self.request_id.encode()), (b"x-content-type-options", b"nosniff"))
            message = {**message, "headers": [*message["headers"], *ours]}
        await self._send(message)


def is_transient(error: BaseException) -> bool:
    """Whether a failure comes from a component that is away or busy, so that the same call may work later."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError | TimeoutError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _TRANSIENT_SQLSTATES
    return False


def _unavailable(request_id: str, detail: str, code: str) -> Response:
    return problems.document(503, code, "Service unavailable", detail, request_id, headers={"Retry-After": "1"})
