"""Tasks: what a service has to do at an instant, or soon, outside the request that decided it.

A task is a row, written in the transaction of the change that wants it. A worker claims it under a lease, *attempts* it without a
transaction (a mail, a charge, a turn of an import), and *records* what came of it in one transaction, whose last statement removes the
task, and only while the lease is held.

Invariants: a task is attempted at least once, at its instant or later by the database's clock, and recorded once. An attempt that was
cut off is made again with the same key. One key of a kind has one task: two attempts of it never both record.
"""

from shared.tasks.kinds import Again, Attempted, LeaseLost, NewTask, Task, TaskKind
from shared.tasks.store import (
    REASON_LENGTH_MAX,
    add,
    cancel,
    payloads,
    renew_payloads,
    require_lease,
    schedule,
    scheduled,
)
from shared.tasks.worker import TaskWorker

__all__ = [
    "REASON_LENGTH_MAX",
    "Again",
    "Attempted",
    "LeaseLost",
    "NewTask",
    "Task",
    "TaskKind",
    "TaskWorker",
    "add",
    "cancel",
    "payloads",
    "renew_payloads",
    "require_lease",
    "schedule",
    "scheduled",
]
