"""The transactions of a request. In each of them the caller's access is checked again before anything is written.

Access may end between the decision, which reads a cache, and the write. The check reads the access projection inside the transaction;
afterwards `CurrentCaller` is the caller as the transaction sees it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from shared.api import answer_headers, idempotency, problems
from shared.api.edge import edge_of
from shared.api.idempotency import Claim


class _Transactions:
    """Opens transactions for one request."""

    def __init__(self, request: Request):
        self._request = request

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """One transaction, committed at the end of the block. Raises `Unauthenticated`, `Forbidden`, `PaymentRequired`, `Unavailable`."""
        async with edge_of(self._request).database.transaction() as session:
            await _recheck_caller(self._request, session)
            yield session
        answer_headers.keep(self._request, session)


async def _transactions(request: Request) -> _Transactions:
    return _Transactions(request)


HTTP_REFUSED = 400

Transactions = Annotated[_Transactions, Depends(_transactions)]
"""For a handler that works without a transaction before, or between, its writes. All others take a `Transaction`."""


async def run_in_transaction(
    request: Request, claim: Claim | None, work: Callable[[AsyncSession], Awaitable[Response]]
) -> Response:
    """Run `work` in one transaction, committed before the response is returned. With a claim it runs once: a repeat gets the stored answer.

    Raises like `_Transactions.begin`, and `Conflict` and `Invalid` like `idempotency.run`.
    """
    edge = edge_of(request)
    async with edge.database.transaction() as session:

        async def checked_work() -> Response:
            await _recheck_caller(request, session)
            return await work(session)

        if claim is None:
            response = await checked_work()
        else:
            request_id = problems.request_id_of(request)
            response = await idempotency.run(session, claim, edge.response_encryptor, request_id, checked_work)
    if response.status_code < HTTP_REFUSED:
        answer_headers.keep(request, session)
    return response


async def _recheck_caller(request: Request, session: AsyncSession) -> None:
    # A public route has no caller.
    caller = getattr(request.state, "caller", None)
    if caller is not None:
        request.state.caller = await edge_of(request).access.recheck(session, caller)
