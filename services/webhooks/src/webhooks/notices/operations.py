"""What streams are told of: new events of a tenant, and endpoints with new results."""

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import KNOWN_IDS_MAX, from_uuid
from shared.live import Announcer, Audience, announce

EVENTS = "events"
ENDPOINTS = "webhook-endpoints"
"""Collections of the names: there are new events; an endpoint (`webhook-endpoints/ep_…`) has new results."""

Result = tuple[UUID, bool, UUID]
"""The tenant, the mode and the endpoint of a result."""


def announce_events(session: AsyncSession, of_tenants: Iterable[tuple[UUID, bool]]) -> None:
    """Tell, if the transaction commits, that there are new events of these tenants and modes."""
    for tenant_id, livemode in of_tenants:
        announce(session, _audience(tenant_id, livemode), EVENTS)


def announce_results(announcer: Announcer) -> Callable[[Collection[Result]], None]:
    """What tells that endpoints have results."""

    def tell(results: Collection[Result]) -> None:
        for tenant_id, livemode, endpoint_id in results:
            announcer.note(_audience(tenant_id, livemode), f"{ENDPOINTS}/{from_uuid('ep', endpoint_id)}")

    return tell


@lru_cache(KNOWN_IDS_MAX)
def _audience(tenant_id: UUID, livemode: bool) -> Audience:
    return Audience(from_uuid("ten", tenant_id), livemode)
