"""`/v1/*` on the console's own address: handed on to the service whose it is, piece by piece, for clients with credentials of their own.

A browser's cookie is never handed on, so a page elsewhere can do nothing with it here.
"""

from collections.abc import AsyncIterator

import httpx
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from console.gateway.client import Gateway
from shared.observability import traces

PREFIXES = {
    "billing": ("billing",),
    "jobs": ("actions", "customers", "job-exports", "job-imports", "job-notices", "jobs", "reports"),
    "webhooks": ("deliveries", "event-types", "events", "replays", "webhook-endpoints", "webhook-health"),
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

_SERVICE_OF = {prefix: service for service, prefixes in PREFIXES.items() for prefix in prefixes}


def service_of(path: str) -> str:
    """Whose `/v1/…` this is."""
    return _SERVICE_OF.get(path.removeprefix("/v1/").partition("/")[0], "identity")


async def forward(gateway: Gateway, request: Request) -> Response:
    """The service's answer, as it comes."""
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
    return StreamingResponse(_pieces(answer), answer.status_code, passed, background=BackgroundTask(answer.aclose))


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()
