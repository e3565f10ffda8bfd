"""Who has the next turn of the event loop: what strangers ask for is begun little by little, address after address.

Whatever a crowd sends at one instant, a turn stays short, and what is at work goes on after it.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from shared.chassis.settings import ProcessSettings


class Lane:
    """Begins at most so many things in a turn. The others wait, and their addresses take turns."""

    def __init__(self, turns: "Turns", per_turn: int, *, after: "Lane | None" = None):
        self._turns = turns
        self._per_turn = self._left = per_turn
        self._after = after
        """Nothing begins here while something waits there."""
        self._waiting: dict[str, deque[Callable[[], None]]] = {}
        """By address, in the order in which addresses come next."""

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def take(self, address: str, begin: Callable[[], None]) -> None:
        """Begin this now, or when its turn has come."""
        self._turns.notice_next()
        if self._may_begin and not self._waiting:
            self._left -= 1
            begin()
        else:
            self._waiting.setdefault(address, deque()).append(begin)

    def begin_turn(self) -> None:
        """A turn has come: begin what has waited for it."""
        self._left = self._per_turn
        while self._waiting and self._may_begin:
            address = next(iter(self._waiting))
            of_address = self._waiting.pop(address)
            begin = of_address.popleft()
            if of_address:
                self._waiting[address] = of_address
            self._left -= 1
            begin()

    @property
    def _may_begin(self) -> bool:
        return self._left > 0 and (self._after is None or not self._after.is_waiting)


class Turns:
    """The lanes of one process."""

    def __init__(self, settings: ProcessSettings) -> None:
        first_max = settings.first_requests_per_turn_max
        self.known = Lane(self, settings.requests_per_turn_max)
        """Requests of clients that waited for an answer before they asked again."""
        self.strangers = Lane(self, first_max)
        """First requests of a connection, and those sent before the answer to an earlier one."""
        self.openings = Lane(self, first_max, after=self.strangers)
        """Connections that are to be opened, so that they can be read."""
        self._notices_next = False

    def notice_next(self) -> None:
        """Something may begin in this turn: have the next turn noticed."""
        if not self._notices_next:
            self._notices_next = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._notices_next = False
        for lane in (self.known, self.strangers, self.openings):
            if lane.is_waiting:
                self.notice_next()
            lane.begin_turn()
