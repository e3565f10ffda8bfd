"""Leases, and the deliveries that a worker holds under them."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from webhooks.http_client import Message


@dataclass(slots=True)
class Event:
    """What deliveries of one event have in common."""

    id: UUID
    tenant_id: UUID
    livemode: bool
    type: str
    message: Message


@dataclass(slots=True, eq=False)
class Lease:
    """The right to attempt deliveries until `held_until` (monotonic clock). It is renewed while it is held."""

    token: int
    held_until: float
    unrecorded: int = 1
    """Deliveries whose results are not recorded yet."""
    is_batch: bool = False


BLOCKED = "'infinity'"
"""SQL: the `due_at` of a delivery that waits for an earlier delivery of its job. It is never due until that one has ended."""

LeaseKey = tuple[UUID, UUID, int]
"""Event, endpoint and token of a lease. Event and endpoint alone would not do: a process may hold one delivery under an old lease, which
it has lost, and under a new one."""


@dataclass(slots=True, eq=False)
class LeasedDelivery:
    """A delivery that this process may attempt while its lease holds."""

    event: Event
    endpoint_id: UUID
    lease: Lease
    attempts_made: int = 0
    attempts_before: int = 0
    """Attempts of earlier rounds: the retry schedule starts again when a delivery is sent again."""
    subject: str | None = None
    """Set if the endpoint is ordered by job: the next delivery of this subject waits for this one."""
    since: float = 0.0
    """When the scheduler accepted it; later, when its attempt began (monotonic clock)."""
    ended: bool = False
    """Its attempt has an outcome."""

    @property
    def key(self) -> LeaseKey:
        """This delivery under this lease."""
        return self.event.id, self.endpoint_id, self.lease.token


def new_token() -> int:
    """A unique token for a lease."""
    return secrets.randbits(62) + 1


def key_arrays(held: Collection[LeasedDelivery]) -> dict[str, list[object]]:
    """Parameters that name these deliveries with their tokens, ordered by key so that concurrent statements do not deadlock."""
    ordered = sorted(held, key=lambda leased: (leased.event.id, leased.endpoint_id))
    return {
        "event_ids": [leased.event.id for leased in ordered],
        "endpoint_ids": [leased.endpoint_id for leased in ordered],
        "tokens": [leased.lease.token for leased in ordered],
    }
