"""Work of several requests that is done together: each free task takes whatever is waiting, so nothing waits for a group to fill."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from shared.errors import WaybillError
from shared.postgres.database import Database

BATCH_MAX = 64
READERS = 2

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")


class Groups(Generic[ItemT]):
    """Calls `settle` with groups of at most `batch_max` waiting items, in up to `tasks_max` tasks at a time."""

    def __init__(self, settle: Callable[[list[ItemT]], Awaitable[None]], *, batch_max: int, tasks_max: int):
        self._settle = settle
        self._batch_max = batch_max
        self._tasks_max = tasks_max
        self._waiting: deque[ItemT] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = 0
        """Tasks that will look at `_waiting` again; a task in `_tasks` may be past its last look."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: ItemT) -> None:
        """Let this item be settled, with those that wait when a task is free."""
        self._waiting.append(item)
        if self._draining < self._tasks_max:
            self._draining += 1
            task = asyncio.create_task(self._drain(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                count = min(self._batch_max, len(self._waiting))
                await self._settle([self._waiting.popleft() for _ in range(count)])
        finally:
            self._draining -= 1


Read = Callable[[AsyncSession, list[ItemT]], Awaitable[Sequence[FoundT | WaybillError]]]
"""Reads these items; for each of them, in their order, what was found or why there is nothing."""


class GroupRead(Generic[ItemT, FoundT]):
    """Answers reads that are pending at the same time with one query. Each answer holds all that was committed before its request."""

    def __init__(
        self,
        database: Database,
        read: Read[ItemT, FoundT],
        *,
        batch_max: int = BATCH_MAX,
        readers: int = READERS,
    ):
        self._database = database
        self._read = read
        self._groups: Groups[tuple[ItemT, asyncio.Future[FoundT]]] = Groups(
            self._settle, batch_max=batch_max, tasks_max=readers
        )

    async def one(self, item: ItemT) -> FoundT:
        """What was found for this item. Raises its refusal, and whatever made the query fail."""
        answered: asyncio.Future[FoundT] = asyncio.get_running_loop().create_future()
        self._groups.add((item, answered))
        return await answered

    async def _settle(self, group: list[tuple[ItemT, "asyncio.Future[FoundT]"]]) -> None:
        found: Sequence[FoundT | Exception]
        try:
            async with self._database.reading() as session:
                found = await self._read(session, [item for item, _ in group])
        except Exception as error:
            # Each of them is answered with it, as if it had been read alone.
            found = [error] * len(group)
        for (_, answered), result in zip(group, found, strict=True):
            if answered.done():
                continue
            if isinstance(result, Exception):
                answered.set_exception(result)
            else:
                answered.set_result(result)
