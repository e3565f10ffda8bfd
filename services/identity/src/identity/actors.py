"""Who acts: the caller of a request, with the address and the id of the request."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from shared.access.principals import Caller
from shared.api import CurrentCaller


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from."""

    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the caller, with its permissions and the origin of its request."""

    caller: Caller
    origin: Origin

    @property
    def id(self) -> str:
        """The id of the user, merchant or key, for the audit trail."""
        return self.caller.actor

    @property
    def tenant_id(self) -> str:
        """The tenant of the request. Raises `BadRequest` when a platform key named none."""
        return self.caller.tenant_id

    @property
    def livemode(self) -> bool:
        return self.caller.livemode

    @property
    def permissions(self) -> frozenset[str]:
        return self.caller.permissions


async def _origin(request: Request) -> Origin:
    address = request.client.host if request.client else ""
    return Origin(address=address, request_id=str(request.scope.get("waybill.request_id", "")))


RequestOrigin = Annotated[Origin, Depends(_origin)]
"""Where the request came from; a public route has no caller."""


async def _actor(caller: CurrentCaller, origin: RequestOrigin) -> Actor:
    return Actor(caller, origin)


CurrentActor = Annotated[Actor, Depends(_actor)]
"""The caller and the origin of the request."""
