"""An HTTP application with background parts, health and metrics, without routes of its own."""

from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI

from shared.chassis.health import Check, add_health_routes
from shared.chassis.parts import Part, lifespan
from shared.chassis.settings import ProcessSettings
from shared.observability.metrics import Metrics

_API_VERSION = "1.0.0"


def create_app(
    *,
    name: str,
    description: str,
    settings: ProcessSettings,
    metrics: Metrics,
    parts: Sequence[Part] = (),
    checks: Sequence[Check] = (),
    after: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """The application, for routes to be added. It is ready when no check raises; `after` runs when all parts have stopped."""

    async def start() -> None:
        app.state.draining = False

    async def end() -> None:
        if after is not None:
            await after()

    app = FastAPI(
        title=f"Waybill {name}",
        version=_API_VERSION,
        description=description,
        # FastAPI writes the document anew for each request (`shared.api.openapi` has ours), and its page takes scripts from another host
        # (`shared.api.docs_page`).
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # A redirect would name this server as it sees itself, without TLS, before any credentials are asked for.
        redirect_slashes=False,
        # The middleware of `shared.api` makes the spans and metrics of requests.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=lifespan(parts, settings=settings, before=start, after=end),
    )
    app.state.draining = False
    # What ends answers that go on: called when the process is about to stop, which waits for all answers.
    app.state.streams = []
    add_health_routes(app, metrics=metrics, metrics_path=settings.metrics_path, checks=checks)
    return app
