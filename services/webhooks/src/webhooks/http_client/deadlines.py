"""Deadlines of equal length. The item that started first ends first, so one timer serves any number of items."""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

# A timer of the event loop may fire a little early; a shorter timer would be a busy wait.
_TIMER_SECONDS_MIN = 0.001

Item = TypeVar("Item", bound=Hashable)


class Deadlines(Generic[Item]):
    """Calls `expired` for each item that is not stopped within `seconds` of its start. For use inside one event loop."""

    def __init__(self, seconds: float, expired: Callable[[Item], None]):
        self._seconds = seconds
        self._expired = expired
        self._ends: dict[Item, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._ends)

    def oldest(self) -> Item:
        """The item that ends next. Raises `StopIteration` if there is none."""
        return next(iter(self._ends))

    def start(self, item: Item, now: float) -> None:
        """Start the deadline of a new item; `now` is on `time.monotonic`."""
        self._ends[item] = now + self._seconds
        if self._timer is None:
            self._set(self._seconds)

    def stop(self, item: Item) -> None:
        """Stop the deadline of an item, if it has one."""
        self._ends.pop(item, None)

    def clear(self) -> None:
        """Stop all deadlines."""
        self._ends.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(seconds, _TIMER_SECONDS_MIN), self._check)

    def _check(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._ends:
            item, end = next(iter(self._ends.items()))
            if end > now:
                # An item that was started meanwhile may have set the timer already.
                if self._timer is None:
                    self._set(end - now)
                return
            del self._ends[item]
            self._expired(item)
