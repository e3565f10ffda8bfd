"""Leases, and the deliveries that a worker holds by them."""

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
    """Who may attempt something, and until when (`held_until` is on the monotonic clock); renewed while it is held."""

    token: int
    held_until: float
    unrecorded: int = 1
    """Deliveries that are not recorded yet."""
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
    """Attempts of earlier rounds."""
    subject: str | None = None
    """Of an endpoint that is ordered by job: the next of this subject waits for this one."""
    since: float = 0.0
    """When it was accepted, and then when its attempt began (on the monotonic clock)."""
    ended: bool = False
    """It has an outcome."""

    @property
    def key(self) -> LeaseKey:
        """This delivery under this lease."""
        return self.event.id, self.endpoint_id, self.lease.token


def new_token() -> int:
    """A token for the leases of one batch; no other batch ever has it."""
    return secrets.randbits(62) + 1


def key_arrays(held: Collection[LeasedDelivery]) -> dict[str, list[object]]:
    """Arrays that name these deliveries, in the order of their keys, with their tokens."""
    ordered = sorted(held, key=lambda leased: (leased.event.id, leased.endpoint_id))
    return {
        "event_ids": [leased.event.id for leased in ordered],
        "endpoint_ids": [leased.endpoint_id for leased in ordered],
        "tokens": [leased.lease.token for leased in ordered],
    }
