"""Kinds of tasks: how a service attempts and records them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

Again = datetime | timedelta
"""When a task is due again: an instant, or so long after now by the database's clock."""


class LeaseLost(Exception):
    """The task was changed, cancelled, or claimed by another worker: whatever this attempt did must not be recorded."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be written. One kind has at most one task of a key."""

    kind: str
    key: str
    due_at: datetime | None = None
    """None: at once."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    """JSON values that the attempt needs. Personal data belong into the rows of the service, not here."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task that a worker has claimed."""

    id: UUID
    kind: str
    key: str
    payload: Mapping[str, Any]
    due_at: datetime
    attempt: int
    """1 for the first attempt, and after each one that was recorded."""
    claimed_at: datetime
    """By the database's clock, so never before `due_at`."""
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class Attempted:
    """A task with the outcome of its attempt; None for kinds that are recorded without one."""

    task: Task
    outcome: Any = None


Attempt = Callable[[Task], Awaitable[Any]]
Record = Callable[[AsyncSession, Sequence[Attempted]], Awaitable[Mapping[UUID, Again] | None]]
GiveUp = Callable[[AsyncSession, Task, str], Awaitable[None]]


async def record_as_attempted(session: AsyncSession, attempted: Sequence[Attempted]) -> Mapping[UUID, Again]:
    """The `record` of kinds whose attempt writes its own results: the outcome says when the task is due again; None: it is done."""
    return {one.task.id: one.outcome for one in attempted if one.outcome is not None}


@dataclass(frozen=True, slots=True)
class TaskKind:
    """How tasks of one kind are worked on.

    `record` gets the session of one transaction and tasks of this kind that were attempted, and returns those that are due again: the
    others are done. It locks rows of the service before any task is touched, as whoever schedules one does, so they cannot deadlock.
    When it raises for several tasks, nothing is written, and each is recorded by itself.
    """

    name: str
    record: Record = record_as_attempted
    attempt: Attempt | None = None
    """What is done without a transaction. It may happen more than once: the task's key names it to the outside. None: nothing."""
    give_up: GiveUp | None = None
    """Called in the transaction that sets a task aside, with the reason."""
    at_once: int = 100
    """Tasks that one process works on at a time."""
    recorded_together: int | None = None
    """Tasks that one transaction records at most; where that is fewer than `at_once`, several do so at the same time. None: all."""
    attempt_seconds: float = 60.0
    """Longest time of an attempt; one that takes longer has failed."""
    attempts_max: int = 20
    """Attempts in a row that may fail; after the last one the task is set aside."""
    delay_seconds_min: float = 1.0
    """Delay after a first failure; it doubles with each further one in a row."""
    delay_seconds_max: float = 600.0

    @property
    def batch_size(self) -> int:
        """Tasks that one transaction records at most."""
        return self.recorded_together or self.at_once

    @property
    def recorders(self) -> int:
        """Transactions that record at the same time."""
        return ceil(self.at_once / self.batch_size)
