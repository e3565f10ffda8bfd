"""The outermost middleware: request id, trace, limit of concurrent requests, metrics, request log, log, a response to every error."""

import re
import time
from collections.abc import Sequence

import structlog
import uuid_utils
from opentelemetry import context as trace_context
from opentelemetry import trace
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.access.request_log import RequestLog
from shared.api import problems
from shared.api.in_flight import Place, Places
from shared.chassis.networks import Network, client_address
from shared.errors import BadRequest, WaybillError
from shared.observability import traces
from shared.observability.metrics import Metrics
from shared.postgres.transient_errors import is_transient

log = structlog.get_logger()

CLIENT_CLOSED_REQUEST = 499

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


_SINGLE = (
    b"authorization",
    b"x-api-key",
    b"x-tenant-id",
    b"x-tenant-name",
    b"idempotency-key",
    b"content-type",
    b"content-encoding",
    b"host",
)
"""Headers that may come once."""


class EdgeMiddleware:
    """Wraps every request of one app."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: str,
        metrics: Metrics,
        places: Places,
        verbose: bool,
        operations: frozenset[str],
        trusted_proxies: Sequence[Network],
        request_log: RequestLog | None = None,
    ):
        """Without a `request_log` no caller has credentials of the API."""
        self._app = app
        self._service = service
        self._places = places
        self._metrics = metrics
        self._request_log = request_log
        self._verbose = verbose
        self._operations = operations
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":
            # Answered as GET by every route; the server leaves the body out, because its own scope still says HEAD.
            scope = {**scope, "method": "GET"}
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{uuid_utils.uuid7().hex}"
        scope["waybill.request_id"] = request_id
        if scope.get("client"):
            peer, port = scope["client"]
            address = client_address(peer, headers.getlist("x-forwarded-for"), self._trusted_proxies)
            # All that follows sees the client: limits, audit, logs.
            scope["client"] = (address, port)
        exchange = _Exchange(send, request_id, has_body=method != "HEAD")
        started = time.perf_counter()
        # A stream gives it back when it begins (`shared.api.event_streams`).
        place = scope["waybill.place"] = Place(self._places, scope, receive)
        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        token = trace_context.attach(traces.extract(carrier))
        try:
            with (
                structlog.contextvars.bound_contextvars(request_id=request_id),
                traces.tracer().start_as_current_span(method, kind=trace.SpanKind.SERVER) as span,
            ):
                await self._answer(scope, receive, exchange, place)
                route = self._route(scope)
                span.update_name(f"{method} {route}")
                span.set_attribute("http.response.status_code", exchange.status)
                seconds = time.perf_counter() - started
                self._metrics.http_requests.labels(method, route, exchange.status).inc()
                self._metrics.http_duration_seconds.labels(method, route).observe(seconds)
                if self._request_log is not None and (principal := scope.get("waybill.principal")):
                    self._request_log.note(
                        principal,
                        method=method,
                        path=route,
                        status=exchange.status,
                        code=scope.get("waybill.problem_code"),
                        request_id=request_id,
                        seconds=seconds,
                    )
                self._log(scope, route, exchange.status, seconds)
        finally:
            place.give_back()
            trace_context.detach(token)

    async def _answer(self, scope: Scope, receive: Receive, exchange: "_Exchange", place: Place) -> None:
        path = scope["path"]
        try:
            _require_single(scope)
            if path not in self._operations:
                if place.waits_for_body:
                    receive = place.receive
                else:
                    place.take()
            await self._app(scope, receive, exchange.send)
        except WaybillError as error:
            await problems.problem(error, exchange.request_id)(scope, receive, exchange.send)
        except ClientDisconnect:
            # Nobody reads the answer; the log and the metrics name it as most servers do.
            if not exchange.ended:
                exchange.status = CLIENT_CLOSED_REQUEST
        except Exception as error:
            transient = is_transient(error)
            log.error("request_failed", path=path, transient=transient, exc_info=not transient, error=repr(error))
            if exchange.started:
                raise
            answer = (
                _unavailable_response(
                    exchange.request_id, "a component that this needs is not available", "unavailable"
                )
                if transient
                else problems.document(
                    500, "internal_error", "Internal error", "something went wrong", exchange.request_id
                )
            )
            await answer(scope, receive, exchange.send)

    def _route(self, scope: Scope) -> str:
        """The route's template for metrics and logs: never the path of the client."""
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
            address=scope["client"][0] if scope.get("client") else None,
            tenant_id=caller.tenant_id_or_none if caller else None,
            actor=caller.actor if caller else None,
        )


def _require_single(scope: Scope) -> None:
    """Raises `BadRequest` when a header that has one value comes twice: two servers could each believe another one."""
    names = [name for name, _ in scope["headers"]]
    if len(set(names)) < len(names):
        for name in _SINGLE:
            if names.count(name) > 1:
                raise BadRequest(f"send the header {name.decode()} once", code="header_repeated")


class _Exchange:
    """The response so far."""

    def __init__(self, send: Send, request_id: str, *, has_body: bool):
        self._send = send
        self._has_body = has_body
        self.request_id = request_id
        self.status = 500
        self.started = False
        self.ended = False
        """Whether an answer without a body has been sent; what a route streams is not made any more."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            ours = ((b"x-request-id", self.request_id.encode()), (b"x-content-type-options", b"nosniff"))
            message = {**message, "headers": [*message["headers"], *ours]}
        elif not self._has_body:
            if self.ended:
                raise ClientDisconnect
            self.ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)


def _unavailable_response(request_id: str, detail: str, code: str) -> Response:
    return problems.document(503, code, "Service unavailable", detail, request_id, headers={"Retry-After": "1"})
