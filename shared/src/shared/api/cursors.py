"""Opaque signed cursors, and the paging parameters of a request."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from shared.errors import BadRequest

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
CURSOR_LENGTH_MAX = 1024
CURSOR_EXAMPLE = "2V5cnQ0bm9uc2Vuc2VbImFiYyIsWyIyMDMwLTAxLTMxIl1d"
_SIGNATURE_BYTES = 16


class Paging:
    """The page that a request asks for: its size and where it begins. Reads and signs cursors."""

    def __init__(self, *, limit: int, cursor: str | None, scope: str, secret: bytes):
        self.limit = limit
        self._cursor = cursor
        self._scope = scope
        self._secret = secret

    def position(self, filters: object) -> list[Any] | None:
        """Where the page begins; None: at the start. Raises `BadRequest` for a cursor that is forged or was made with other filters."""
        if self._cursor is None:
            return None
        try:
            padded = self._cursor.encode("ascii") + b"=" * (-len(self._cursor) % 4)
            raw = base64.b64decode(padded, altchars=b"-_", validate=True)
            signature, content = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
            if not hmac.compare_digest(signature, self._sign(content)):
                raise ValueError("signature")
            made_under, position = json.loads(content)
        except ValueError as error:
            raise BadRequest("the cursor is not one that this API made", code="cursor_invalid") from error
        if made_under != self._hash(filters):
            raise BadRequest("the cursor was made under other filters", code="cursor_filters_differ")
        return list(position)

    def cursor_after(self, position: Sequence[Any], filters: object) -> str:
        content = json.dumps([self._hash(filters), list(position)], default=_to_json, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(content) + content).decode().rstrip("=")

    def _sign(self, content: bytes) -> bytes:
        return hmac.new(self._secret, b"cursor:" + content, hashlib.sha256).digest()[:_SIGNATURE_BYTES]

    def _hash(self, filters: object) -> str:
        named = json.dumps([self._scope, filters], sort_keys=True, default=_to_json)
        return hashlib.sha256(named.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Cursors:
    """Makes the cursors of one caller's list. They are valid for this list, tenant and row scope only."""

    scope: str
    secret: bytes

    def paging(self, limit: int, cursor: str | None) -> Paging:
        """The page that a request body asks for."""
        return Paging(limit=limit, cursor=cursor, scope=self.scope, secret=self.secret)


async def _cursors(request: Request) -> Cursors:
    caller = request.state.caller
    scope = f"{request.url.path} {caller.tenant_id_or_none} {caller.row_scope}"
    return Cursors(scope, request.app.state.edge.cursor_secret)


async def _paging(
    cursors: Annotated[Cursors, Depends(_cursors)],
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.", examples=[50])] = LIMIT_DEFAULT,
    cursor: Annotated[
        str | None,
        Query(max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of the page before.", examples=[CURSOR_EXAMPLE]),
    ] = None,
) -> Paging:
    return cursors.paging(limit, cursor)


PageRequest = Annotated[Paging, Depends(_paging)]
"""The page that a request asks for with query parameters."""
CursorsOfList = Annotated[Cursors, Depends(_cursors)]
"""For a list whose request body says which page it asks for."""


def _to_json(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
