"""The queue: due deliveries, and leases of single deliveries and of batches.

Invariant: a delivery that has not ended is part of a batch lease or has a row in `delivery_due`. A lease has a token and expires at an
instant of the database's clock, which all workers share. When a lease expires its deliveries are due again, and a late result of its former
holder changes nothing.
"""

from webhooks.queue.batch_leases import (
    HELD_BATCHES,
    batches_left,
    move_to_queue,
    release_expired_batches,
    renew_batches,
)
from webhooks.queue.due import (
    FIRST_ENDPOINT,
    claim,
    enqueue,
    expedite,
    lock_job_order,
    peek,
    release,
    renew,
    resend,
    unblock,
    unblock_all,
)
from webhooks.queue.leases import BLOCKED, Event, Lease, LeasedDelivery, LeaseKey, new_token
from webhooks.queue.tables import BatchLeaseRow, DeliveryDueRow

__all__ = [
    "BLOCKED",
    "FIRST_ENDPOINT",
    "HELD_BATCHES",
    "BatchLeaseRow",
    "DeliveryDueRow",
    "Event",
    "Lease",
    "LeaseKey",
    "LeasedDelivery",
    "batches_left",
    "claim",
    "enqueue",
    "expedite",
    "lock_job_order",
    "move_to_queue",
    "new_token",
    "peek",
    "release",
    "release_expired_batches",
    "renew",
    "renew_batches",
    "resend",
    "unblock",
    "unblock_all",
]
