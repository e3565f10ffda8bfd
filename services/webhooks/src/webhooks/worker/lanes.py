"""A lane: places for attempts under way, shared fairly among endpoints, and what waits for a place.

First attempts and retries have a lane each. In a lane an endpoint gets its share and no more, and one whose attempts time out gets half
of it each time, down to a single place: an endpoint that hangs holds up nobody but itself. What waits behind it beyond a bound stays in
the queue in the database.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from webhooks.attempts import Leased

WAITING_MAX = 4096
WAITING_PER_PLACE = 4
WAITING_BYTES_MAX = 64 * 1024 * 1024
SHARES_KEPT_MAX = 10_000


@dataclass(slots=True)
class _Share:
    """One endpoint's part of a lane; `places` shrinks with time-outs and grows with answers."""

    places: int
    waiting: deque[Leased] = field(default_factory=deque)
    in_flight: int = 0

    @property
    def can_begin(self) -> bool:
        return bool(self.waiting) and self.in_flight < self.places


class Lane:
    """`places` attempts at once, `endpoint_places` of one endpoint.

    `attempt` makes one, records it, and says whether the receiver answered in time; it must not raise.
    """

    def __init__(self, *, places: int, endpoint_places: int, attempt: Callable[[Leased], Awaitable[bool]]):
        self.endpoint_places = min(endpoint_places, places)
        self._places = places
        self._attempt = attempt
        self._shares: dict[UUID, _Share] = {}
        self._ready: OrderedDict[UUID, None] = OrderedDict()
        self._tasks: dict[asyncio.Task[bool], Leased] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._open = False
        self.freed = asyncio.Event()
        """Set whenever a place has become free."""

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    @property
    def free(self) -> int:
        """Places that nothing is waiting for."""
        return max(0, self._places - len(self._tasks) - self._waiting) if self._open else 0

    @property
    def waiting(self) -> list[Leased]:
        return [leased for share in self._shares.values() for leased in share.waiting]

    @property
    def held(self) -> list[Leased]:
        """All whose lease is in our hands: under way and waiting."""
        return [*self._tasks.values(), *self.waiting]

    def open(self) -> None:
        """Take deliveries from now on."""
        self._open = True

    def close(self) -> list[Leased]:
        """Take no more; what was waiting is handed back."""
        self._open = False
        return self.withdraw(list(self._shares))

    def room(self, endpoint_id: UUID) -> int:
        """How many more of this endpoint can be accepted."""
        if not self._open or self._waiting_bytes >= WAITING_BYTES_MAX:
            return 0
        share = self._shares.get(endpoint_id)
        if share is None:
            mine = self.endpoint_places * (1 + WAITING_PER_PLACE)
        else:
            mine = share.places * (1 + WAITING_PER_PLACE) - share.in_flight - len(share.waiting)
        return max(0, min(mine, WAITING_MAX - self._waiting))

    def full(self) -> list[UUID]:
        """Endpoints with more than half of their share in use: nothing should be claimed for them now."""
        return [one for one, share in self._shares.items() if (share.in_flight + len(share.waiting)) * 2 > share.places]

    def accept(self, leased: Sequence[Leased]) -> None:
        """Attempt these, now or when there is a place."""
        for one in leased:
            endpoint_id = one.target.endpoint_id
            share = self._shares.setdefault(endpoint_id, _Share(self.endpoint_places))
            share.waiting.append(one)
            self._waiting += 1
            self._waiting_bytes += len(one.message.body)
            if share.can_begin:
                self._ready.setdefault(endpoint_id)
        self._fill()

    def withdraw(self, endpoint_ids: Iterable[UUID]) -> list[Leased]:
        """Take back what waits for these endpoints."""
        taken: list[Leased] = []
        for endpoint_id in endpoint_ids:
            share = self._shares.get(endpoint_id)
            while share is not None and share.waiting:
                taken.append(self._next(share))
            self._forget_idle(endpoint_id)
        return taken

    def begin_nothing_of(self, delivery_ids: set[UUID]) -> None:
        """Let go of what waits and is not ours any more (what is under way ends by itself; its record changes nothing)."""
        for leased in self.waiting:
            if leased.delivery_id in delivery_ids:
                leased.held_until = 0.0

    async def idle(self) -> None:
        """Returns when nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        """Break off what is under way."""
        for task in self._tasks:
            task.cancel()

    def _fill(self) -> None:
        """Begin what can begin, one of each endpoint in turn."""
        while self._ready and len(self._tasks) < self._places:
            endpoint_id, _ = self._ready.popitem(last=False)
            share = self._shares.get(endpoint_id)
            if share is None or not share.can_begin:
                continue
            leased = self._next(share)
            if leased.held_until > time.monotonic():
                self._begin(leased, share)
            if share.can_begin:
                self._ready[endpoint_id] = None

    def _next(self, share: _Share) -> Leased:
        leased = share.waiting.popleft()
        self._waiting -= 1
        self._waiting_bytes -= len(leased.message.body)
        return leased

    def _begin(self, leased: Leased, share: _Share) -> None:
        share.in_flight += 1
        task = asyncio.ensure_future(self._attempt(leased))
        self._tasks[task] = leased
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[bool]") -> None:
        endpoint_id = self._tasks.pop(task).target.endpoint_id
        share = self._shares[endpoint_id]
        share.in_flight -= 1
        in_time = not task.cancelled() and task.exception() is None and task.result()
        share.places = min(self.endpoint_places, share.places + 1) if in_time else max(1, share.places // 2)
        if share.can_begin:
            self._ready.setdefault(endpoint_id)
        self._forget_idle(endpoint_id)
        self.freed.set()
        self._fill()

    def _forget_idle(self, endpoint_id: UUID) -> None:
        share = self._shares.get(endpoint_id)
        if share is None or share.in_flight or share.waiting:
            return
        # That an endpoint hung is worth remembering until it answers again.
        if share.places >= self.endpoint_places or len(self._shares) > SHARES_KEPT_MAX:
            del self._shares[endpoint_id]
