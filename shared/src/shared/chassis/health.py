"""Liveness, readiness and metrics of a process, for its operator."""

from collections.abc import Awaitable, Callable, Sequence

import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.observability.metrics import Metrics

log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[None]]
"""Raises while a process is not ready."""

LIVENESS_PATH = "/livez"
READINESS_PATH = "/readyz"


class NotReady(Exception):
    """A process is not ready; the message says why, to anybody."""


def named(word: str, check: Check) -> Check:
    """The check of a dependency: its failure is answered with this word, and its error is logged."""

    async def run() -> None:
        try:
            await check()
        except Exception as error:
            log.warning("not_ready", dependency=word, error=repr(error))
            raise NotReady(word) from error

    return run


def add_health_routes(app: FastAPI, *, metrics: Metrics, metrics_path: str, checks: Sequence[Check]) -> None:
    """Add `/livez`, `/readyz` (it runs the `checks` in this order) and the metrics, all without credentials."""

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def readyz(_: Request) -> Response:
        reason = "draining" if app.state.draining else await _first_reason(checks)
        if reason is not None:
            return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def exposition(_: Request) -> Response:
        content, media_type = metrics.exposition()
        return Response(content, media_type=media_type)

    for path, endpoint in ((LIVENESS_PATH, livez), (READINESS_PATH, readyz), (metrics_path, exposition)):
        app.router.routes.append(Route(path, endpoint, methods=["GET"], include_in_schema=False))


async def _first_reason(checks: Sequence[Check]) -> str | None:
    for check in checks:
        try:
            await check()
        except NotReady as error:
            return str(error)
        except Exception:
            # Anybody may read the answer: it names no address and no error of a library.
            log.warning("not_ready", exc_info=True)
            return "a dependency is not available"
    return None
