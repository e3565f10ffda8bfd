"""`/docs`: the OpenAPI document as a page on which one can try it (Swagger UI), from this service's own files alone."""

from html import escape
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from shared.chassis.static_files import StaticFiles

PATH = "/docs"
FILES = StaticFiles(Path(__file__).with_name("static"))

# Nothing inline, and nothing from elsewhere; small pictures stand in the style sheet itself.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{icon}">
<link rel="stylesheet" href="{style}">
</head>
<body>
<div id="docs"></div>
<noscript>This page needs JavaScript. The document itself is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="{bundle}"></script>
<script src="{script}"></script>
</body>
</html>
"""


def install(app: FastAPI) -> None:
    """Add the page and the files that it names. Raises `FilesMissing` where the browser files were not fetched."""
    page = PAGE.format(
        title=escape(app.title),
        icon=FILES.address("vendor/swagger-ui-dist/favicon-32x32.png"),
        style=FILES.address("vendor/swagger-ui-dist/swagger-ui.css"),
        bundle=FILES.address("vendor/swagger-ui-dist/swagger-ui-bundle.js"),
        script=FILES.address("docs.js"),
    )

    async def docs(_: Request) -> Response:
        return HTMLResponse(page, headers=HEADERS)

    app.router.routes.append(Route(PATH, docs, methods=["GET"], include_in_schema=False))
    FILES.install(app)
