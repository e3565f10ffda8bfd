"""Who acts: the caller of a request and its network address."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from shared.api import CurrentCaller


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change: the id of a person or key, and the network address."""

    id: str
    address: str | None


async def _actor(caller: CurrentCaller, request: Request) -> Actor:
    return Actor(caller.actor, request.client.host if request.client else None)


CurrentActor = Annotated[Actor, Depends(_actor)]
"""The caller, and where the request came from."""
