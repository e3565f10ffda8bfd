"""Reading a request's body: bounded, JSON only, strict (UTF-8, no duplicate names, no control characters, no NaN)."""

import json
from typing import Any, NoReturn

from fastapi import Request

from shared.errors import BadRequest, Invalid, PayloadTooLarge, UnsupportedMediaType, Violation
from shared.http.problems import pointer

DEPTH_MAX = 64
_ALLOWED_CONTROLS = {"\t", "\n", "\r"}
_JSON_TYPES = ("application/json", "application/merge-patch+json")


async def read(request: Request, *, bytes_max: int, expects_body: bool) -> bytes:
    """The body, read once and left on the request for FastAPI, already decoded.

    Raises `PayloadTooLarge`, `UnsupportedMediaType`, `BadRequest` (not JSON) or `Invalid` (text that no field may hold).
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > bytes_max:
        raise PayloadTooLarge(f"the body may have {bytes_max} bytes at most", bytes_max=bytes_max)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise PayloadTooLarge(f"the body may have {bytes_max} bytes at most", bytes_max=bytes_max)
    content = bytes(body)
    request._body = content  # what FastAPI's own reading would find
    if expects_body:
        _require_json_type(request)
        if not content:
            raise BadRequest("a JSON body is required", code="body_missing")
        request._json = parse(content)
    return content


def parse(content: bytes) -> Any:
    """JSON, strictly. Raises `BadRequest` or `Invalid`."""
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise BadRequest("the JSON is nested too deeply", code="json_too_deep") from error
    except ValueError as error:
        raise BadRequest(f"the body is not valid JSON: {error}", code="json_malformed") from error
    if b"\\" in content or content.count(b"[") + content.count(b"{") > DEPTH_MAX:
        _check_tree(document)
    return document


def _require_json_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _JSON_TYPES:
        raise UnsupportedMediaType("send application/json", accepted=list(_JSON_TYPES))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has two members of the same name")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_tree(document: Any) -> None:
    """Depth, and text that PostgreSQL or UTF-8 cannot hold; only documents with escapes or much structure can have either."""
    violations: list[Violation] = []
    waiting: list[tuple[Any, tuple[object, ...]]] = [(document, ())]
    while waiting:
        node, path = waiting.pop()
        if len(path) > DEPTH_MAX:
            raise BadRequest("the JSON is nested too deeply", code="json_too_deep")
        if isinstance(node, str):
            if not _is_clean(node):
                violations.append(Violation(pointer(path), "control_character", "control characters are not allowed"))
        elif isinstance(node, dict):
            if any(not _is_clean(name) for name in node):
                violations.append(Violation(pointer(path), "control_character", "a name has control characters"))
            else:
                waiting.extend((value, (*path, name)) for name, value in node.items())
        elif isinstance(node, list):
            waiting.extend((value, (*path, index)) for index, value in enumerate(node))
    if violations:
        raise Invalid("the request is not valid: see errors", *violations)


def _is_clean(value: str) -> bool:
    return all(
        (character >= " " and character != "\x7f" and not "\ud800" <= character <= "\udfff")
        or character in _ALLOWED_CONTROLS
        for character in value
    )
