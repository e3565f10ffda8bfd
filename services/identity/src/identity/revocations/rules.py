"""Which events end access, and what the reports of replicas make of a receipt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.events import State, identity

SERVICES = ("identity", "billing", "jobs", "webhooks")
"""The services that decide who may call them."""

ReplicaState = Literal["applied", "missing", "stopped"]

_ENDING = (
    identity.ApiAccessRevoked,
    identity.CredentialOverlapEnded,
    identity.CredentialRevoked,
    identity.MerchantDisabled,
    identity.SessionRevoked,
    identity.TenantClosed,
    identity.TenantSuspended,
    identity.UserDisabled,
    identity.UserPermissionsChanged,
)


def ends_access(event_type: type[identity.IdentityEvent], state: State) -> bool:
    """Whether something that was accepted until now is refused after this event."""
    if event_type is identity.CredentialRotated and isinstance(state, identity.MerchantState):
        # With an overlap the former key stays valid.
        return state.pair is not None and len(state.pair.digests) == 1
    return event_type in _ENDING


@dataclass(frozen=True, slots=True)
class Replica:
    """A process of a service, as it was last heard of."""

    service: str
    name: str
    started_at: datetime
    last_heard_at: datetime
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReplicaReceipt:
    """What is known of one replica; `applied_at`: since when it refuses."""

    replica: Replica
    state: ReplicaState
    applied_at: datetime | None


def receipts(
    revoked_at: datetime,
    events: int,
    replicas: Sequence[Replica],
    applied: Mapping[tuple[str, str], Sequence[datetime]],
    *,
    max_staleness: timedelta,
) -> Mapping[str, Sequence[ReplicaReceipt]]:
    """The receipts of each service for a revocation of so many events.

    `applied` has, by service and replica, since when each event is in force there. Nothing is expected of a replica that started later,
    that had stopped, or that had not been heard of for so long that it refuses everybody until its data are current again.
    """
    found: dict[str, list[ReplicaReceipt]] = {service: [] for service in SERVICES}
    for replica in replicas:
        instants = applied.get((replica.service, replica.name), ())
        if len(instants) >= events:
            state: ReplicaState = "applied"
        elif replica.stopped_at is not None:
            state = "stopped"
        else:
            state = "missing"
        if instants or _is_expected(replica, revoked_at, max_staleness):
            receipt = ReplicaReceipt(replica, state, max(instants) if state == "applied" else None)
            found.setdefault(replica.service, []).append(receipt)
    return found


def is_complete(found: Sequence[ReplicaReceipt]) -> bool:
    """Whether a service refuses: at least one of its replicas says so, and none is missing."""
    states = {receipt.state for receipt in found}
    return "applied" in states and "missing" not in states


def milliseconds_after(revoked_at: datetime, applied_at: datetime) -> int:
    """How long after the revocation that was; never less than 0, although the clocks of two machines may differ."""
    return max(0, round((applied_at - revoked_at).total_seconds() * 1000))


def _is_expected(replica: Replica, revoked_at: datetime, max_staleness: timedelta) -> bool:
    ran = replica.started_at <= revoked_at and (replica.stopped_at is None or replica.stopped_at >= revoked_at)
    return ran and replica.last_heard_at >= revoked_at - max_staleness
