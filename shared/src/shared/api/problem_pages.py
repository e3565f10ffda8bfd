"""The pages of the types of problems: what the `type` of a problem document leads to, for anybody."""

import base64
import hashlib
import json
import re
from html import escape
from typing import Annotated, Any

from fastapi import Header, Path
from starlette.responses import Response

from shared.api.declarations import public
from shared.api.routes import Router
from shared.errors import NotFound
from shared.problem_types import PATH, ProblemType, example, problem_types, type_of

CODE_CHARS_MAX = 100
MAX_AGE_SECONDS = 3600
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;padding:1rem;overflow-x:auto}dt{font-weight:bold}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": f"public, max-age={MAX_AGE_SECONDS}",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
}
_CODE = re.compile("`([^`]*)`")

Accept = Annotated[str, Header(max_length=1000)]


def router() -> Router:
    """The routes, for every service. They are not in the OpenAPI document: its problem documents lead here."""
    routes = Router(tags=["problems"])

    @routes.get(PATH, include_in_schema=False)
    @public()
    async def list_problem_types(accept: Accept = "") -> Response:
        """List the types of problems."""
        types = problem_types()
        if _wants_html(accept):
            items = "".join(
                f'<li><a href="{type_of(code)}">{code}</a>: {escape(types[code].title)}</li>' for code in types
            )
            return _page("Problems", f"<ul>{items}</ul>")
        return _json({"object": "list", "data": [_described(code, one) for code, one in types.items()]})

    @routes.get(f"{PATH}/{{code}}", include_in_schema=False)
    @public()
    async def get_problem_type(code: Annotated[str, Path(max_length=CODE_CHARS_MAX)], accept: Accept = "") -> Response:
        """Explain a type of problem."""
        known = problem_types().get(code)
        if known is None:
            raise NotFound(f"there is no such problem: {PATH} lists all", code="route_not_found")
        return _page(known.title, _content(code, known)) if _wants_html(accept) else _json(_described(code, known))

    return routes


def _wants_html(accept: str) -> bool:
    return "text/html" in accept.lower()


def _described(code: str, known: ProblemType) -> dict[str, Any]:
    return {
        "object": "problem_type",
        "type": type_of(code),
        "code": code,
        "title": known.title,
        "status": known.status,
        "when": known.when,
        "remedy": known.remedy,
        "example": example(code),
    }


def _content(code: str, known: ProblemType) -> str:
    shown = escape(json.dumps(example(code), indent=2, ensure_ascii=False))
    return (
        f"<dl><dt>Code</dt><dd><code>{code}</code></dd><dt>Status</dt><dd>{known.status}</dd>"
        f"<dt>When it happens</dt><dd>{_prose(known.when)}</dd><dt>What to do</dt><dd>{_prose(known.remedy)}</dd></dl>"
        f'<h2>Example</h2><pre>{shown}</pre><p><a href="{PATH}">All problems</a></p>'
    )


def _prose(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _page(title: str, content: str) -> Response:
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style>"
    )
    body = f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{escape(title)}</h1>{content}</body></html>\n'
    return Response(body, media_type="text/html", headers=_HEADERS)


def _json(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document, ensure_ascii=False), media_type="application/json", headers=_HEADERS)
