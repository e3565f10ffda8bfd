"""What handlers ask for in their parameters: a session, the caller, the request's idempotency claim."""

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access.principals import Caller
from shared.api import idempotency

# -- what handlers ask for -------------------------------------------------------------------------------------------------


async def transaction_session(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


async def reading_session(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


async def searching_session(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


async def _claim(request: Request) -> idempotency.Claim | None:
    return idempotency.claim_of(request, request.state.caller, request.scope["route"].path, await request.body())


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Transaction = Annotated[AsyncSession, Depends(transaction_session)]
"""The request's transaction: committed before the answer is sent, rolled back on every error."""
Reading = Annotated[AsyncSession, Depends(reading_session)]
"""A session for reads; each statement sees what is committed when it starts."""
Searching = Annotated[AsyncSession, Depends(searching_session)]
"""The same for searches: its statements are planned for their values, on connections that searches have to themselves."""
CurrentCaller = Annotated[Caller, Depends(_caller)]
IdempotencyClaim = Annotated[idempotency.Claim | None, Depends(_claim)]
"""What the request's Idempotency-Key claims, for a handler whose write is committed together with others' (`shared.api.group_commit`)."""
