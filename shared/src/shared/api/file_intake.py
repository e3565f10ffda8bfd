"""Uploads: a file is read piece by piece as it arrives, never whole in memory, and accepted once for an Idempotency-Key.

An upload has no effect before `accept`: a client that disconnects earlier has done nothing.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from shared.api import form_file, idempotency, request_body
from shared.api.edge import edge_of
from shared.api.form_file import FormFile
from shared.api.responses import render
from shared.api.transactions import run_in_transaction
from shared.errors import BadRequest

UPLOAD_SECONDS_MAX = 3600.0
"""Longest time for the whole file."""


class _Upload:
    """The file in a request's body: the body itself, or a form with the file in it. `begin` comes first."""

    def __init__(self, request: Request, rule: request_body.BodyRule):
        self._request = request
        self._rule = rule
        self._bytes_max = rule.bytes_max or 0
        self._digest = hashlib.sha256()
        self._content = self._arriving()
        self.media_type = request_body.media_type_of(request)
        self.charset = request_body.charset_of(request)
        """As the request, or the part of the form, names it; None: it names none."""
        # Checked here, so that a malformed key is refused before the file is read.
        self.keyed = self._claim() is not None
        """Whether the request has an Idempotency-Key, and so may be a repeat."""

    async def begin(self) -> None:
        """Read a form until its file begins. Raises `BadRequest`, `Invalid` or `UnsupportedMediaType` by what comes before the file."""
        if self.media_type != form_file.MEDIA_TYPE:
            return
        form = FormFile(self._request.headers["content-type"], self._content)
        await form.begin()
        self.media_type, self.charset = form.media_type(tuple(self._rule.files)), form.charset
        self._content = form.content()

    async def pieces(self, piece_bytes: int) -> AsyncIterator[bytes]:
        """The file in pieces of that size, the last one smaller. Raises `PayloadTooLarge`, or `BadRequest` when it ends early."""
        received = 0
        waiting = bytearray()
        async for arrived in self._content:
            received += len(arrived)
            if received > self._bytes_max:
                raise request_body.too_large(self._bytes_max)
            self._digest.update(arrived)
            waiting += arrived
            while len(waiting) >= piece_bytes:
                yield bytes(waiting[:piece_bytes])
                del waiting[:piece_bytes]
        if waiting:
            yield bytes(waiting)

    async def accept(self, work: Callable[[AsyncSession], Awaitable[BaseModel]], status_code: int) -> Response:
        """After the file is read: do its work in one transaction; for a repeated Idempotency-Key, the stored response.

        Raises like `run_in_transaction`: the caller's access may have ended while the file arrived.
        """

        async def answer(session: AsyncSession) -> Response:
            return render(await work(session), status_code)

        return await run_in_transaction(self._request, self._claim(), answer)

    def _claim(self) -> idempotency.Claim | None:
        fingerprint = self._digest.digest() + f"{self.media_type};{self.charset or ''}".encode()
        route = self._request.scope["route"].path
        return idempotency.claim_of(self._request, self._request.state.caller, route, fingerprint)

    async def _arriving(self) -> AsyncIterator[bytes]:
        idle_seconds = edge_of(self._request).body_idle_seconds
        try:
            async for arrived in request_body.arriving(
                self._request, idle_seconds=idle_seconds, seconds_max=UPLOAD_SECONDS_MAX
            ):
                yield arrived
        except ClientDisconnect as error:
            raise BadRequest("the file has not arrived completely", code="upload_incomplete") from error


async def upload(request: Request) -> _Upload:
    found = _Upload(request, request.scope["route"].body_rule)
    await found.begin()
    return found


Upload = Annotated[_Upload, Depends(upload)]
"""The request's file, for a handler that declares `streams`."""
