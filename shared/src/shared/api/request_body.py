"""Reads request bodies: limited in size, JSON only, strict (UTF-8, no duplicate names, no control characters, no NaN).

`body` declares a larger body, or a body whose parts are validated one by one; `streams` declares a file (`shared.api.file_intake`).
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from shared.api import form_file
from shared.api.problems import VIOLATIONS_MAX, pointer
from shared.chassis.http_protocol import body_has_arrived
from shared.errors import BadRequest, PayloadTooLarge, RequestTimeout, UnsupportedMediaType, Violation, invalid

HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[Any]])
ModelT = TypeVar("ModelT", bound=BaseModel)

DEPTH_MAX = 64
_RULE = "__waybill_body__"
# Control characters except tabs and line breaks, and surrogates.
_UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# Only JSON with the escape of one, or with DEL or one of U+0080 to U+009F, which JSON allows unescaped, can have one.
_SUSPECT = re.compile(rb"\\(?:[bf]|u00(?:0[0-8bcefBCEF]|1|7[fF]|[89])|u[dD][89a-fA-F])|\x7f|\xc2[\x80-\x9f]")
CONTAINERS_ALWAYS = 5_000
BYTES_PER_CONTAINER = 32
"""A body may have so many objects and arrays, and one more for each so many bytes: each costs many times what its bytes do."""
_JSON_CHARSETS = ("utf-8", "utf8")
_JSON_TYPES = ("application/json", "application/merge-patch+json")


@dataclass(frozen=True, slots=True)
class BodyRule:
    """How a route reads its body."""

    bytes_max: int | None = None
    """None: the limit of the app's settings."""
    by_parts: bool = False
    """Forbidden characters are a violation of the part that has them, found by `part`, not of the whole body."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Media types of a file, each with an example, which the handler reads as it arrives. None: JSON, read before the handler runs."""


def body(*, bytes_max: int, by_parts: bool = False) -> Callable[[HandlerT], HandlerT]:
    """Declare the largest body of a route."""
    return _declare(BodyRule(bytes_max, by_parts=by_parts))


def streams(files: Mapping[str, str], *, bytes_max: int) -> Callable[[HandlerT], HandlerT]:
    """Declare that a route's body is a file of one of these media types, each with an example; the handler takes an `Upload`."""
    return _declare(BodyRule(bytes_max, files=files))


def rule_of(handler: Callable[..., Any]) -> BodyRule:
    """The declaration of a handler."""
    rule: BodyRule = getattr(handler, _RULE, BodyRule())
    return rule


def _declare(rule: BodyRule) -> Callable[[HandlerT], HandlerT]:
    def mark(handler: HandlerT) -> HandlerT:
        setattr(handler, _RULE, rule)
        return handler

    return mark


def require_file(request: Request, rule: BodyRule) -> None:
    """Raises `PayloadTooLarge` or `UnsupportedMediaType` by the headers of a file, before it is read."""
    media_type = media_type_of(request)
    framed = form_file.FRAME_BYTES_MAX if media_type == form_file.MEDIA_TYPE else 0
    _require_declared_size(request, (rule.bytes_max or 0) + framed)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    accepted = [*rule.files, form_file.MEDIA_TYPE]
    if media_type not in accepted or encoding != "identity":
        raise UnsupportedMediaType(f"send {' or '.join(accepted)}, not compressed", accepted=accepted)


def too_large(bytes_max: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body may have {bytes_max} bytes at most", bytes_max=bytes_max)


def media_type_of(request: Request) -> str:
    """The body's type as the client names it, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def charset_of(request: Request) -> str | None:
    """The charset that the client names for the body, if any; empty in a notation (RFC 2231) in which no charset is known here."""
    declared = request.headers.get("content-type", "")
    if ";" not in declared:
        return None
    parameters = Message()
    parameters["content-type"] = declared
    charset = parameters.get_param("charset")
    if charset is None:
        return None
    return charset.strip().lower() if isinstance(charset, str) else ""


async def read(
    request: Request,
    *,
    count: Callable[[int], None],
    bytes_max: int,
    idle_seconds: float,
    seconds_max: float,
    expects_body: bool,
    body_optional: bool = False,
    by_parts: bool = False,
) -> bytes:
    """The body, read once; the decoded JSON is left on the request for FastAPI.

    `count` is told how much arrives of a body that is not complete yet. Raises what it raises, `RequestTimeout`, `PayloadTooLarge`,
    `UnsupportedMediaType`, `BadRequest` (not JSON) or `Invalid` (forbidden characters).
    """
    _require_declared_size(request, bytes_max)
    received = bytearray()
    has_arrived = body_has_arrived(request.scope)
    chunks = request.stream() if has_arrived else arriving(request, idle_seconds=idle_seconds, seconds_max=seconds_max)
    async for chunk in chunks:
        received += chunk
        if not has_arrived:
            count(len(chunk))
        if len(received) > bytes_max:
            raise too_large(bytes_max)
    content = bytes(received)
    request._body = content  # FastAPI reads the body from here
    if expects_body and (content or not body_optional):
        _require_json_type(request)
        if not content:
            raise BadRequest("a JSON body is required", code="body_missing")
        request._json = parse(content, by_parts=by_parts)
    return content


async def arriving(request: Request, *, idle_seconds: float, seconds_max: float) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises `RequestTimeout` when nothing comes for `idle_seconds`, or not all within `seconds_max`."""
    stream = aiter(request.stream())
    clock = asyncio.get_running_loop().time
    ends_at = clock() + seconds_max
    try:
        while True:
            async with asyncio.timeout_at(min(clock() + idle_seconds, ends_at)):
                arrived = await anext(stream, None)
            if arrived is None:
                return
            yield arrived
    except TimeoutError as error:
        detail = f"the body has to arrive within {seconds_max:g} seconds, without a pause of {idle_seconds:g} seconds"
        raise RequestTimeout(detail, code="body_timeout", headers={"Connection": "close"}) from error


def part(model: type[ModelT], document: Any) -> ModelT:
    """One part of a body as this model. Raises `Invalid` with all violations; their pointers are relative to the part."""
    violations = _unclean(document)
    try:
        made = model.model_validate(document)
    except ValidationError as error:
        found = (Violation(pointer(one["loc"]), one["type"], one["msg"]) for one in error.errors(include_url=False))
        violations = [*violations, *found]
    if violations:
        raise invalid(*violations)
    return made


def parse(content: bytes, *, by_parts: bool = False) -> Any:
    """Strict JSON of a bounded number of parts.

    Raises `BadRequest`, and, unless the parts are validated one by one, `Invalid` for forbidden characters.
    """
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise BadRequest("the JSON is nested too deeply", code="json_too_deep") from error
    except ValueError as error:
        raise BadRequest(f"the body is not valid JSON: {error}", code="json_malformed") from error
    containers = content.count(b"[") + content.count(b"{")
    if containers > CONTAINERS_ALWAYS + len(content) // BYTES_PER_CONTAINER:
        raise BadRequest("the JSON has too many objects and arrays for its size", code="json_too_many_parts")
    if containers > DEPTH_MAX:
        _require_depth(document)
    if not by_parts and _SUSPECT.search(content):
        violations = _unclean(document)
        if violations:
            raise invalid(*violations)
    return document


def _require_declared_size(request: Request, bytes_max: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > bytes_max:
        raise too_large(bytes_max)


def _require_json_type(request: Request) -> None:
    if media_type_of(request) not in _JSON_TYPES:
        raise UnsupportedMediaType("send application/json", accepted=list(_JSON_TYPES))
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType(
            "send the JSON uncompressed, without Content-Encoding",
            code="content_encoding_unsupported",
            headers={"Accept-Encoding": "identity"},
        )
    if charset_of(request) not in (None, *_JSON_CHARSETS):
        raise UnsupportedMediaType("send the JSON in UTF-8", code="charset_unsupported")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has two members of the same name")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _require_depth(document: Any) -> None:
    """Raises `BadRequest` for JSON that is nested too deeply."""
    level, depth = [document], 0
    while level:
        if depth > DEPTH_MAX:
            raise BadRequest("the JSON is nested too deeply", code="json_too_deep")
        level = _containers(level)
        depth += 1


def _containers(level: list[Any]) -> list[Any]:
    """The objects and arrays inside these values."""
    return [
        inner
        for node in level
        if isinstance(node, dict | list) and node
        for inner in (node.values() if isinstance(node, dict) else node)
        if isinstance(inner, dict | list)
    ]


def _unclean(document: Any) -> list[Violation]:
    """A violation for each text that PostgreSQL or UTF-8 cannot store, as far as an answer can list them."""
    # Nearly every body is clean: paths are made only for one that is not.
    if not _has_unclean_text(document):
        return []
    violations: list[Violation] = []
    waiting: list[tuple[Any, tuple[object, ...]]] = [(document, ())]
    while waiting and len(violations) < VIOLATIONS_MAX:
        node, path = waiting.pop()
        if isinstance(node, str):
            if _UNCLEAN.search(node):
                violations.append(Violation(pointer(path), "control_character", "control characters are not allowed"))
        elif isinstance(node, dict):
            if any(_UNCLEAN.search(name) for name in node):
                violations.append(Violation(pointer(path), "control_character", "a name has control characters"))
            else:
                waiting.extend((value, (*path, name)) for name, value in node.items())
        elif isinstance(node, list):
            waiting.extend((value, (*path, index)) for index, value in enumerate(node))
    return violations


def _has_unclean_text(document: Any) -> bool:
    level = [document]
    while level:
        for node in level:
            texts = (*node, *node.values()) if isinstance(node, dict) else node if isinstance(node, list) else (node,)
            if any(isinstance(text, str) and _UNCLEAN.search(text) for text in texts):
                return True
        level = _containers(level)
    return False
