"""Who has the next turn of the event loop: what strangers ask for is begun little by little, address after address.

Whatever a crowd sends at one instant, a turn stays short, and what is at work goes on after it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from time import monotonic

from shared.chassis.settings import ProcessSettings

PAUSE_SECONDS_MIN = 0.001
"""The event loop knows no shorter time."""
PAUSE_SECONDS_MAX = 0.02
KNOWN_SECONDS = 0.1
"""Who has waited for longer does not notice what strangers take: an answer may be a stream without end."""


class Lane:
    """Begins at most so many things in a turn; where more wait, and others are about, one. The others wait.

    Addresses take turns, and one for which nothing waited goes first: who asks now and then does not wait for a crowd.
    """

    def __init__(self, turns: "Turns", per_turn: int, *, after: "Lane | None" = None, may_pause: bool = False):
        self._turns = turns
        self._per_turn = self._left = per_turn
        self._after = after
        """Nothing begins here while something waits there."""
        self.may_pause = may_pause
        self.has_begun = False
        """Whether something has begun in this turn."""
        self._new: dict[str, deque[Callable[[], None]]] = {}
        """By address, in the order in which they came: those that have not begun anything in this round."""
        self._round: dict[str, deque[Callable[[], None]]] = {}
        """By address, in the order in which they come next. One for which nothing waits stays until then, and is not new before."""
        self._count = 0

    @property
    def is_waiting(self) -> bool:
        return self._count > 0

    def take(self, address: str, begin: Callable[[], None]) -> None:
        """Begin this now, or when its turn has come."""
        self._turns.notice_next()
        if self._may_begin and not self._count:
            self._left -= 1
            self.has_begun = True
            begin()
            return
        self._count += 1
        of_address = self._round.get(address)
        if of_address is None:
            of_address = self._new.setdefault(address, deque())
        of_address.append(begin)

    def begin_turn(self) -> None:
        """A turn has come: begin what has waited for it."""
        is_crowd = self._count > self._per_turn and self._turns.are_of_several_addresses
        self._left = 1 if is_crowd else self._per_turn
        self.has_begun = self._count > 0 and self._may_begin
        while self._count and self._may_begin:
            self._left -= 1
            self._pop()()

    def _pop(self) -> Callable[[], None]:
        """What comes next; something waits."""
        addresses = self._new or self._round
        while not addresses[address := next(iter(addresses))]:
            del addresses[address]
        of_address = addresses.pop(address)
        begin = of_address.popleft()
        self._count -= 1
        if self._count:
            self._round[address] = of_address
        else:
            self._round.clear()
        return begin

    @property
    def _may_begin(self) -> bool:
        if self._left <= 0 or (self.may_pause and self._turns.is_pausing):
            return False
        return self._after is None or not self._after.is_waiting


class Turns:
    """The lanes of one process.

    While requests of known clients are at work, strangers have half of the time: they pause for as long as what was begun for them took.
    """

    def __init__(self, settings: ProcessSettings) -> None:
        first_max = settings.first_requests_per_turn_max
        self.known = Lane(self, settings.requests_per_turn_max)
        """Requests of clients that waited for an answer before they asked again."""
        self.strangers = Lane(self, first_max, may_pause=True)
        """First requests of a connection, and those sent before the answer to an earlier one."""
        self.openings = Lane(self, first_max, after=self.strangers, may_pause=True)
        """Connections that are to be opened, so that they can be read."""
        self._notices_next = False
        self._requests: Counter[str] = Counter()
        """By address, those that wait or are at work."""
        self._known_since: dict[object, float] = {}
        """Requests of known clients that wait or are at work."""
        self._turn_since = 0.0
        self._owed_seconds = 0.0
        """What strangers have had, and known clients not yet."""
        self._pause: asyncio.TimerHandle | None = None

    @property
    def are_of_several_addresses(self) -> bool:
        """Whether more than one address has requests that wait or are at work."""
        return len(self._requests) > 1

    @property
    def is_pausing(self) -> bool:
        """Whether strangers wait although nothing of theirs is at work."""
        return self._pause is not None

    def enter(self, request: object, address: str, *, is_known: bool) -> None:
        """This address has one more request."""
        self._requests[address] += 1
        if is_known:
            self._known_since[request] = monotonic()

    def leave(self, request: object, address: str) -> None:
        """A request of this address is answered, or nobody waits for its answer any longer."""
        self._requests[address] -= 1
        if not self._requests[address]:
            del self._requests[address]
        if self._known_since.pop(request, None) is not None and not self._known_since:
            self._resume()

    def notice_next(self) -> None:
        """Something may begin in this turn: have the next turn noticed."""
        if not self._notices_next:
            self._notices_next = True
            self._turn_since = monotonic()
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._notices_next = False
        self._settle(monotonic())
        for lane in (self.known, self.strangers, self.openings):
            if lane.is_waiting and not (lane.may_pause and self.is_pausing):
                self.notice_next()
            lane.begin_turn()

    def _settle(self, now: float) -> None:
        """A turn has ended: what it took for strangers is owed to known clients, if there are any."""
        if self.strangers.has_begun or self.openings.has_begun:
            self._owed_seconds += now - self._turn_since
        while self._known_since and now - self._known_since[first := next(iter(self._known_since))] > KNOWN_SECONDS:
            del self._known_since[first]
        if not self._known_since:
            self._resume()
        elif self._owed_seconds > PAUSE_SECONDS_MIN and self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(
                min(self._owed_seconds, PAUSE_SECONDS_MAX), self._resume
            )

    def _resume(self) -> None:
        self._owed_seconds = 0.0
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
            self.notice_next()
