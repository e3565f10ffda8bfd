"""One service's HTTP application: guarded routes, problem documents, health, metrics, and its parts' lifespan."""

from collections.abc import Sequence
from datetime import UTC, datetime

from fastapi import FastAPI
from fastapi.routing import APIRoute

from shared.access.authentication import Access
from shared.api import introspection, problems
from shared.api.declarations import RouteUndeclared
from shared.api.edge import Edge
from shared.api.middleware import EdgeMiddleware
from shared.api.openapi import build_document
from shared.api.rate_limits import RateLimits
from shared.api.routes import GuardedRoute, Router
from shared.chassis.health import LIVENESS_PATH, READINESS_PATH, Check, NotReady, add_health_routes
from shared.chassis.parts import Part, lifespan
from shared.chassis.settings import ServiceSettings
from shared.crypto.encryptor import Encryptor
from shared.observability.metrics import Metrics
from shared.postgres.database import Database

_API_VERSION = "1.0.0"


def create_app(
    *,
    service: str,
    description: str,
    settings: ServiceSettings,
    database: Database,
    access: Access,
    response_encryptor: Encryptor,
    metrics: Metrics,
    routers: Sequence[Router],
    parts: Sequence[Part],
    ready: Sequence[Check] = (),
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
        response_encryptor=response_encryptor,
    )
    problems.install(app)
    if "api" in settings.role_set:
        for router in (*routers, introspection.router()):
            app.router.routes.extend(router.routes)

    async def access_is_current() -> None:
        stale = access.staleness_seconds(datetime.now(UTC)) > settings.access_max_staleness_seconds
        if stale and "api" in settings.role_set:
            raise NotReady("access data are not current yet")

    checks = [database.ping, *ready, access_is_current]
    add_health_routes(app, metrics=metrics, metrics_path=settings.metrics_path, checks=checks)
    _require_declared(app)
    app.openapi = lambda: build_document(app)  # type: ignore[method-assign]
    app.add_middleware(
        EdgeMiddleware,
        service=service,
        metrics=metrics,
        in_flight_max=settings.requests_in_flight_max,
        verbose=settings.log_level == "DEBUG",
        operations=frozenset({LIVENESS_PATH, READINESS_PATH, settings.metrics_path}),
    )
    return app


def _require_declared(app: FastAPI) -> None:
    for route in app.routes:
        if isinstance(route, APIRoute) and not isinstance(route, GuardedRoute):
            raise RouteUndeclared(f"{route.path} is not a guarded route: make it with shared.api.Router")
