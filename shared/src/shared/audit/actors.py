"""Who acts: the caller of a request, with the address and the id of the request."""

from dataclasses import dataclass

from shared.access.principals import Caller


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from."""

    address: str
    request_id: str
    user_agent: str = ""


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
