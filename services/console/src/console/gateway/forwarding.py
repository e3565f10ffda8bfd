"""`/v1/*` on the console's own address: handed on to the service whose it is, piece by piece, for clients with credentials of their own.

A browser's cookie is never handed on, so a page elsewhere can do nothing with it here.
"""

from collections.abc import AsyncIterator, Callable

import httpx
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from console.gateway.client import Gateway
from shared.api.event_streams import MEDIA_TYPE
from shared.observability import traces

PREFIXES = {
    "billing": ("billing",),
    "jobs": ("actions", "customers", "job-commands", "job-exports", "job-imports", "job-notices", "jobs", "reports"),
    "webhooks": (
        "deliveries",
        "event-types",
        "events",
        "replays",
        "webhook-endpoints",
        "webhook-health",
        "webhook-locations",
    ),
}
"""What paths of each service begin with; all others are identity's."""
NOT_HANDED_ON = frozenset(
    {
        *(
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "te",
            "trailer",
            "transfer-encoding",
        ),
        *("upgrade", "cookie", "set-cookie", "host", "x-forwarded-for", "traceparent", "tracestate", "x-request-id"),
    }
)
SILENCE_SECONDS_MAX = 60.0
"""An event stream says at least every quarter of a minute that it is there."""

UntilTheEnd = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]

_SERVICE_OF = {prefix: service for service, prefixes in PREFIXES.items() for prefix in prefixes}


def service_of(path: str) -> str:
    """Whose `/v1/…` this is."""
    return _SERVICE_OF.get(path.removeprefix("/v1/").partition("/")[0], "identity")


async def forward(gateway: Gateway, request: Request, until_the_end: UntilTheEnd) -> Response:
    """The service's answer, as it comes; `until_the_end` ends one that would go on when the process is about to stop."""
    service = service_of(request.url.path)
    headers = [(name, value) for name, value in request.headers.items() if name not in NOT_HANDED_ON]
    headers += [("x-request-id", request.scope.get("waybill.request_id", "")), *traces.inject().items()]
    if request.client:
        headers.append(("x-forwarded-for", request.client.host))
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    # The path as it was sent: an id with a slash in it stays one segment.
    path = request.scope.get("raw_path", request.url.path.encode()).decode("ascii", "replace").partition("?")[0]
    sent = gateway.request(
        service,
        request.method,
        path + (f"?{request.url.query}" if request.url.query else ""),
        headers=headers,
        content=request.stream() if has_body else None,
        silence_seconds=SILENCE_SECONDS_MAX,
    )
    try:
        answer = await gateway.send(sent)
    except httpx.TransportError:
        document = {
            "title": "Service unavailable",
            "status": 503,
            "code": "unavailable",
            "detail": f"{service} is away",
        }
        return JSONResponse(document, 503, {"Retry-After": "1"}, media_type="application/problem+json")
    passed = {name: value for name, value in answer.headers.items() if name not in NOT_HANDED_ON}
    is_endless = answer.headers.get("content-type", "").startswith(MEDIA_TYPE)
    pieces = until_the_end(answer.aiter_raw()) if is_endless else answer.aiter_raw()
    content = _closing(answer, pieces)
    return StreamingResponse(content, answer.status_code, passed, background=BackgroundTask(answer.aclose))


async def _closing(answer: httpx.Response, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    finally:
        await answer.aclose()
