"""Parameters of handlers: a database session, the caller, the actor, the request's idempotency claim."""

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from shared.access.principals import Caller
from shared.api import idempotency, problems
from shared.audit import Actor, Origin

USER_AGENT_CHARS_MAX = 300
"""What is kept of a client's own name."""


async def transaction_session(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


async def reading_session(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


async def searching_session(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


async def idempotency_claim(request: Request) -> idempotency.Claim | None:
    return idempotency.claim_of(request, request.state.caller, request.scope["route"].path, await request.body())


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _origin(request: Request) -> Origin:
    address = request.client.host if request.client else ""
    user_agent = request.headers.get("user-agent", "")[:USER_AGENT_CHARS_MAX]
    return Origin(address, problems.request_id_of(request), user_agent)


Transaction = Annotated[AsyncSession, Depends(transaction_session)]
"""The request's transaction: committed before the response is sent, rolled back on every error. It checks the caller's access again."""
Reading = Annotated[AsyncSession, Depends(reading_session)]
"""A session for reads; each statement sees what is committed when it starts."""
Searching = Annotated[AsyncSession, Depends(searching_session)]
"""A session for searches: PostgreSQL plans each statement for its values; the connections are separate from all others."""
CurrentCaller = Annotated[Caller, Depends(_caller)]
"""The authenticated caller; with a `Transaction`, as the transaction sees it."""
RequestOrigin = Annotated[Origin, Depends(_origin)]
"""Where the request came from; a public route has no caller."""


async def _actor(caller: CurrentCaller, origin: RequestOrigin) -> Actor:
    return Actor(caller, origin)


CurrentActor = Annotated[Actor, Depends(_actor)]
"""The caller and the origin of its request, for what is audited."""
IdempotencyClaim = Annotated[idempotency.Claim | None, Depends(idempotency_claim)]
"""The claim of the request's Idempotency-Key, for a handler that runs without a `Transaction` (`shared.api.group_commit`)."""
