"""Entity tags: the version of a resource as `ETag`, and the conditions that name it.

A route hands the caller's `If-Match` to the operation, which checks it when the row is locked.
"""

import re
from typing import Annotated

from fastapi import Depends, Header, Request
from starlette.responses import Response

from shared.errors import PreconditionFailed

_ENTITY_TAG = re.compile(r'"[^"]*"')


class _IfMatch:
    """The `If-Match` of a request. None: the request has no such condition."""

    def __init__(self, value: str | None):
        self._versions = (
            None if value is None or value.strip() == "*" else {_version_in(tag) for tag in value.split(",")}
        )

    def check(self, version: int) -> None:
        """Raises `PreconditionFailed` when the locked row has another version than the caller has seen."""
        if self._versions is not None and str(version) not in self._versions:
            raise PreconditionFailed("the resource has changed since you read it", current_version=version)


async def _if_match(
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            max_length=256,
            description="Change only if the record still has this ETag; else 412.",
            examples=['"3"'],
        ),
    ] = None,
) -> _IfMatch:
    return _IfMatch(if_match)


IfMatch = Annotated[_IfMatch, Depends(_if_match)]
"""The request's `If-Match`: pass it to the operation, which checks it when the row is locked."""
ANY_VERSION: IfMatch = _IfMatch(None)
"""For a write without a condition."""


def etag(version: int, variant: str | None = None) -> str:
    """The strong entity tag of a version. `variant` distinguishes representations of one version that change with time."""
    return f'"{version}"' if variant is None else f'"{version}.{variant}"'


def _version_in(tag: str) -> str | None:
    """The version in a strong entity tag that `etag` made."""
    tag = tag.strip()
    return tag[1:-1].partition(".")[0] if len(tag) > 2 and tag[0] == tag[-1] == '"' else None


def not_modified(request: Request, response: Response) -> Response:
    """The response, or 304 in its place when `If-None-Match` names its entity tag."""
    if request.method not in ("GET", "HEAD") or "etag" not in response.headers:
        return response
    known = ",".join(request.headers.getlist("if-none-match"))
    # Weak comparison (RFC 9110, 8.8.3.2): what a proxy makes of our tag when it compresses is still the same.
    if known.strip() != "*" and response.headers["etag"] not in _ENTITY_TAG.findall(known):
        return response
    return Response(status_code=304, headers={"ETag": response.headers["etag"]})
