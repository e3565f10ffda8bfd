"""Reading a request's body: bounded, JSON only, strict (UTF-8, no duplicate names, no control characters, no NaN).

A route whose body is larger, or is a list of parts that are judged one by one, says so with `body`; one that takes a file says `streams`
(`shared.api.file_intake`).
"""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from shared.api.problems import pointer
from shared.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType, Violation, invalid

HandlerT = TypeVar("HandlerT", bound=Callable[..., Awaitable[Any]])
ModelT = TypeVar("ModelT", bound=BaseModel)

DEPTH_MAX = 64
_RULE = "__waybill_body__"
# Control characters but for tabs and line breaks, and halves of characters.
_UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_JSON_TYPES = ("application/json", "application/merge-patch+json")


@dataclass(frozen=True, slots=True)
class BodyRule:
    """How a route takes its body; the defaults are every other route's."""

    bytes_max: int | None = None
    """None: what the app's setting says."""
    by_parts: bool = False
    """Text that no field may hold is a fault of the part that has it, found by `part`, and not of the whole."""
    media_types: tuple[str, ...] = ()
    """Those of a file that the handler reads as it arrives; none: the body is JSON and read before the handler runs."""


def body(*, bytes_max: int, by_parts: bool = False) -> Callable[[HandlerT], HandlerT]:
    """This route's body may have so many bytes."""
    return _declare(BodyRule(bytes_max, by_parts=by_parts))


def streams(*media_types: str, bytes_max: int) -> Callable[[HandlerT], HandlerT]:
    """This route's body is a file of one of these types; its handler takes an `Upload`."""
    return _declare(BodyRule(bytes_max, media_types=media_types))


def rule_of(handler: Callable[..., Any]) -> BodyRule:
    """What a handler declares of its body."""
    rule: BodyRule = getattr(handler, _RULE, BodyRule())
    return rule


def _declare(rule: BodyRule) -> Callable[[HandlerT], HandlerT]:
    def mark(handler: HandlerT) -> HandlerT:
        setattr(handler, _RULE, rule)
        return handler

    return mark


def require_file(request: Request, rule: BodyRule) -> None:
    """Raises `PayloadTooLarge` or `UnsupportedMediaType` for a file that need not be read to be refused."""
    _require_declared_size(request, rule.bytes_max or 0)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type_of(request) not in rule.media_types or encoding != "identity":
        expected = " or ".join(rule.media_types)
        raise UnsupportedMediaType(f"send {expected}, not compressed", accepted=list(rule.media_types))


def too_large(bytes_max: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body may have {bytes_max} bytes at most", bytes_max=bytes_max)


def media_type_of(request: Request) -> str:
    """The body's type as the client names it, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read(
    request: Request, *, bytes_max: int, expects_body: bool, body_optional: bool = False, by_parts: bool = False
) -> bytes:
    """The body, read once and left on the request for FastAPI, already decoded.

    Raises `PayloadTooLarge`, `UnsupportedMediaType`, `BadRequest` (not JSON) or `Invalid` (text that no field may hold).
    """
    _require_declared_size(request, bytes_max)
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > bytes_max:
            raise too_large(bytes_max)
    content = bytes(received)
    request._body = content  # what FastAPI's own reading would find
    if expects_body and (content or not body_optional):
        _require_json_type(request)
        if not content:
            raise BadRequest("a JSON body is required", code="body_missing")
        request._json = parse(content, by_parts=by_parts)
    return content


def part(model: type[ModelT], document: Any) -> ModelT:
    """One part of a body as this model. Raises `Invalid` with all that is wrong, each pointer relative to the part."""
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
    """JSON, strictly. Raises `BadRequest` or, unless parts are looked at one by one, `Invalid` for text that no field may hold."""
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise BadRequest("the JSON is nested too deeply", code="json_too_deep") from error
    except ValueError as error:
        raise BadRequest(f"the body is not valid JSON: {error}", code="json_malformed") from error
    if b"\\" in content or b"\x7f" in content or content.count(b"[") + content.count(b"{") > DEPTH_MAX:
        violations = _unclean(document)
        if violations and not by_parts:
            raise invalid(*violations)
    return document


def _require_declared_size(request: Request, bytes_max: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > bytes_max:
        raise too_large(bytes_max)


def _require_json_type(request: Request) -> None:
    if media_type_of(request) not in _JSON_TYPES:
        raise UnsupportedMediaType("send application/json", accepted=list(_JSON_TYPES))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has two members of the same name")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unclean(document: Any) -> list[Violation]:
    """Where text is that PostgreSQL or UTF-8 cannot hold. Raises `BadRequest` for too much depth.

    Of JSON only documents with escapes, DEL (which JSON allows as it is) or much structure can have either.
    """
    violations: list[Violation] = []
    waiting: list[tuple[Any, tuple[object, ...]]] = [(document, ())]
    while waiting:
        node, path = waiting.pop()
        if len(path) > DEPTH_MAX:
            raise BadRequest("the JSON is nested too deeply", code="json_too_deep")
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
