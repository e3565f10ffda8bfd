"""Every service publishes on `access.receipts.v1` (kept for a day), for identity: which revocations its processes refuse by.

Key: the service and its replica, so that the reports of one keep their order. A report that is lost is missed in a receipt, nothing else.
"""

from typing import ClassVar, Literal

from pydantic import AwareDatetime

from shared.events import Event, State

TOPIC = "access.receipts.v1"
SOURCE = "waybill/receipts"


class AppliedRevocation(State):
    revocation_id: str
    event_id: str
    """The event of the revocation that is in force; a revocation may have several."""
    applied_at: AwareDatetime
    """When the replica began to refuse, by its own clock."""


class ReplicaReport(State):
    service: str
    """identity | billing | jobs | webhooks"""
    replica: str
    """Its WAYBILL_INSTANCE, or a name that lasts as long as its process."""
    started_at: AwareDatetime
    """When its process started."""
    stopping: bool = False
    """Whether this is its last report."""
    applied: list[AppliedRevocation] = []
    """What it refuses by since its last report."""


class ReplicaReported(Event):
    """A replica runs, and refuses what these revocations have ended."""

    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE
    best_effort: ClassVar[bool] = True
    type: Literal["replica.reported"] = "replica.reported"
    data: ReplicaReport


EVENTS: tuple[type[Event], ...] = (ReplicaReported,)
