"""One service's HTTP application: the chassis's, with guarded routes, problem documents and an edge."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from fastapi import FastAPI
from fastapi.routing import APIRoute

from shared.api import docs_page, introspection, locations, openapi, problem_pages, problems
from shared.api.declarations import RouteUndeclared
from shared.api.dispatch import dispatching
from shared.api.edge import Edge
from shared.api.in_flight import Places
from shared.api.middleware import EdgeMiddleware
from shared.api.openapi import ApiDescription, build_document
from shared.api.routes import GuardedRoute, Router
from shared.chassis import app as chassis_app
from shared.chassis.health import LIVENESS_PATH, READINESS_PATH, Check, NotReady, named
from shared.chassis.networks import parse_networks
from shared.chassis.parts import Part
from shared.chassis.settings import ProcessSettings
from shared.observability.metrics import Metrics


def create_app(
    *,
    service: str,
    description: ApiDescription,
    settings: ProcessSettings,
    edge: Edge,
    metrics: Metrics,
    routers: Sequence[Router],
    parts: Sequence[Part],
    ready: Sequence[Check] = (),
) -> FastAPI:
    """The application of one service in this process's roles. Raises `RouteUndeclared` when a route does not say who may call it."""
    serves_api = "api" in settings.role_set

    async def access_is_current() -> None:
        if serves_api and not edge.access.is_current(datetime.now(UTC)):
            raise NotReady("access data are not current yet")

    app = chassis_app.create_app(
        name=service,
        description=description.text,
        settings=settings,
        metrics=metrics,
        parts=[Part("access", edge.access.run), *parts],
        checks=[named("database", edge.database.ping), *ready, access_is_current],
        after=edge.database.close,
    )
    app.state.edge = edge
    problems.install(app)
    if serves_api:
        for router in (*routers, introspection.router(), problem_pages.router()):
            app.router.routes.extend(router.routes)
        docs_page.install(app)
    openapi.install(app)
    _require_declared(app)
    locations.assign(app.routes)
    _dispatch(app)
    described = replace(
        description,
        tags={**description.tags, **introspection.TAGS},
        enums={**introspection.ENUMS, **description.enums},
    )
    app.openapi = lambda: build_document(app, described)  # type: ignore[method-assign]
    app.add_middleware(
        EdgeMiddleware,
        service=service,
        metrics=metrics,
        request_log=edge.request_log,
        places=Places(settings.requests_in_flight_max, settings.requests_in_flight_per_address_max),
        verbose=settings.log_level == "DEBUG",
        trusted_proxies=parse_networks(settings.trusted_proxies),
        operations=frozenset({LIVENESS_PATH, READINESS_PATH, settings.metrics_path}),
    )
    return app


def _dispatch(app: FastAPI) -> None:
    """A method that a literal path does not have is 405, though a path with a parameter would match it."""
    guarded = [route for route in app.routes if isinstance(route, GuardedRoute)]
    literal = frozenset(route.path for route in guarded if not route.param_convertors)
    for route in guarded:
        route.literal_paths = literal
    router = app.router
    # The router calls it by position.
    router.middleware_stack = dispatching(guarded, router.middleware_stack)  # type: ignore[assignment]


def _require_declared(app: FastAPI) -> None:
    for route in app.routes:
        if isinstance(route, APIRoute) and not isinstance(route, GuardedRoute):
            raise RouteUndeclared(f"{route.path} is not a guarded route: make it with shared.api.Router")
