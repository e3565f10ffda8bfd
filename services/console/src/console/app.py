"""Composition root: the parts of the console, in the order in which they are created."""

from datetime import timedelta

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.config import Settings
from console.gateway import Gateway, forward
from console.live import Live
from console.pages import PAGES
from console.rendering import STATIC, create_environment
from console.saved_views import SavedViews
from console.serving import Serving
from console.sessions import PLAIN, PURGE_SECONDS, SECURE, Sessions
from console.visits import Parts
from shared.api.in_flight import Places
from shared.api.middleware import EdgeMiddleware
from shared.chassis import app as chassis_app
from shared.chassis.health import LIVENESS_PATH, READINESS_PATH, named
from shared.chassis.networks import parse_networks
from shared.chassis.parts import Part, periodically
from shared.chassis.settings import parse_keys
from shared.chassis.static_files import StaticFiles
from shared.crypto.encryptor import Encryptor
from shared.observability.metrics import Metrics
from shared.postgres.database import Database


def create_app(settings: Settings) -> FastAPI:
    """The console in the roles of this process."""
    metrics = Metrics("console")
    database = Database(settings.database_url, application_name="console", pool_size=settings.database_pool_size)
    gateway = Gateway(settings.services, seconds=settings.gateway_seconds)
    sessions = Sessions(
        database,
        gateway,
        Encryptor(parse_keys(settings.sealing_keys.get_secret_value())),
        life=timedelta(hours=settings.session_hours),
        idle=timedelta(minutes=settings.session_idle_minutes),
        renewals_at_once=settings.database_pool_size // 2,
    )

    async def close() -> None:
        await gateway.close()
        await database.close()

    live = Live()
    app = chassis_app.create_app(
        name="console",
        description="What people see in a browser.",
        settings=settings,
        metrics=metrics,
        parts=[Part("session purge", periodically(sessions.purge, PURGE_SECONDS), role="worker")],
        checks=[named("database", database.ping)],
        after=close,
    )
    if "api" in settings.role_set:
        _add_pages(app, settings, gateway, database, sessions, live)
    app.state.streams.append(live.end)
    app.add_middleware(
        EdgeMiddleware,
        service="console",
        metrics=metrics,
        places=Places(settings.requests_in_flight_max, settings.requests_in_flight_per_address_max),
        verbose=settings.log_level == "DEBUG",
        trusted_proxies=parse_networks(settings.trusted_proxies),
        operations=frozenset({LIVENESS_PATH, READINESS_PATH, settings.metrics_path}),
    )
    return app


def _add_pages(
    app: FastAPI, settings: Settings, gateway: Gateway, database: Database, sessions: Sessions, live: Live
) -> None:
    files = StaticFiles(STATIC)
    files.install(app)
    serving = Serving(
        Parts(
            templates=create_environment(files),
            sessions=sessions,
            live=live,
            views=SavedViews(database),
            cookie=PLAIN if settings.allow_http else SECURE,
            pages=PAGES,
            base_url=settings.base_url,
            body_bytes_max=settings.body_bytes_max,
            allow_http=settings.allow_http,
            metrics_path=settings.metrics_path,
        ),
        gateway,
    )
    app.router.routes.extend(serving.route(page) for page in PAGES)

    async def call_the_api(request: Request) -> Response:
        return await forward(gateway, request, live.until_the_end)

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app.router.routes.append(Route("/v1/{path:path}", call_the_api, methods=methods, include_in_schema=False))
    app.router.routes.append(Route("/{path:path}", serving.not_found, methods=["GET"], include_in_schema=False))
