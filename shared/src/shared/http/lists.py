"""Lists: keyset pages with opaque signed cursors. Never OFFSET, stable under inserts, no totals."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import DateTime, Select, bindparam, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from shared.errors import BadRequest

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
CURSOR_LENGTH_MAX = 1024
_SIGNATURE_BYTES = 16

RowT = TypeVar("RowT")
ItemT = TypeVar("ItemT")


class Page(BaseModel, Generic[ItemT]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[ItemT]
    has_more: bool = Field(description="Whether another page follows.")
    next_cursor: str | None = Field(
        None, description="Pass it as `cursor`, with the same filters, to get the next page."
    )


class Paging:
    """What a request asks of a list: how many, from where; knows how to read and sign cursors."""

    def __init__(self, *, limit: int, cursor: str | None, scope: str, secret: bytes):
        self.limit = limit
        self._cursor = cursor
        self._scope = scope
        self._secret = secret

    def position(self, filters: object) -> list[Any] | None:
        """Where the page begins. Raises `BadRequest` for a cursor that is forged, or that was made under other filters."""
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
        content = json.dumps([self._hash(filters), list(position)], default=_plain, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(content) + content).decode().rstrip("=")

    def _sign(self, content: bytes) -> bytes:
        return hmac.new(self._secret, b"cursor:" + content, hashlib.sha256).digest()[:_SIGNATURE_BYTES]

    def _hash(self, filters: object) -> str:
        named = json.dumps([self._scope, filters], sort_keys=True, default=_plain)
        return hashlib.sha256(named.encode()).hexdigest()[:16]


async def _paging(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")] = LIMIT_DEFAULT,
    cursor: Annotated[
        str | None, Query(max_length=CURSOR_LENGTH_MAX, description="`next_cursor` of the page before.")
    ] = None,
) -> Paging:
    caller = request.state.caller
    scope = f"{request.url.path} {caller.tenant_id_or_none} {caller.row_scope}"
    return Paging(limit=limit, cursor=cursor, scope=scope, secret=request.app.state.edge.cursor_secret)


PageRequest = Annotated[Paging, Depends(_paging)]


async def page(
    session: AsyncSession,
    statement: Select[RowT],
    request: Paging,
    *,
    by: Sequence[InstrumentedAttribute[Any] | Any],
    view: Callable[[RowT], ItemT],
    descending: bool = True,
    filters: object = None,
) -> Page[ItemT]:
    """One page of `statement`, ordered by the columns `by` (the last of them unique), each row shown through `view`.

    `filters` is everything that shaped the statement: a cursor is good only under the same. Raises `BadRequest` for bad cursors.
    """
    position = request.position(filters)
    if position is not None:
        values = [_typed(column, value) for column, value in zip(by, position, strict=True)]
        keys = tuple_(*by)
        statement = statement.where(keys < tuple_(*values) if descending else keys > tuple_(*values))
    statement = statement.order_by(*(column.desc() if descending else column.asc() for column in by))
    found = await session.scalars(statement.limit(request.limit + 1))
    rows = cast(list[RowT], list(found.all()))
    has_more = len(rows) > request.limit
    rows = rows[: request.limit]
    cursor = request.cursor_after([getattr(rows[-1], column.key) for column in by], filters) if has_more else None
    return Page(data=[view(row) for row in rows], has_more=has_more, next_cursor=cursor)


def _typed(column: Any, value: Any) -> Any:
    """A cursor's value as the column's type (a signed cursor holds only what this API put there)."""
    if isinstance(column.type, DateTime):
        value = datetime.fromisoformat(value)
    return bindparam(None, value, type_=column.type, unique=True)


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
