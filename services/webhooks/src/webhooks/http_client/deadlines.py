"""Deadlines that are all equally long: what began first ends first, so one timer serves any number of them."""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

# An event loop's timer may come a little early; asking again in less than this would be a busy wait.
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
        """The item that ends next. Raises `StopIteration` when there is none."""
        return next(iter(self._ends))

    def start(self, item: Item, now: float) -> None:
        """Watch an item that is not watched yet; `now` is on `time.monotonic`."""
        self._ends[item] = now + self._seconds
        if self._timer is None:
            self._set(self._seconds)

    def stop(self, item: Item) -> None:
        """Watch it no more, if it was watched at all."""
        self._ends.pop(item, None)

    def clear(self) -> None:
        """Watch nothing."""
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
                # One that was started meanwhile may have set the timer already.
                if self._timer is None:
                    self._set(end - now)
                return
            del self._ends[item]
            self._expired(item)
