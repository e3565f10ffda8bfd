"""A lane: places for attempts under way, shared fairly, and what waits for a place.

First attempts and retries have a lane each. In a lane tenants take turns, and the endpoints of a tenant among themselves; no endpoint has
more than its window, nor more than what is still free for all others together, so that however many hang, there are places left. What
waits behind an endpoint beyond a bound, or for too long, goes back to the queue in the database.
"""

import heapq
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

from webhooks.attempts import Leased
from webhooks.domain.pacing import Pace, PaceLimits
from webhooks.targets import Target

WAITING_MAX = 65_536
WAITING_BYTES_MAX = 64 * 1024 * 1024
WAITING_OF_ENDPOINT_MAX = 2048
WAITING_PER_PLACE = 8
ROOM_SECONDS = 1.0
"""What is limited in time keeps no more in memory than what can begin so soon."""
IDLE_KEPT_SECONDS = 60.0
TURN_MAX = 64
"""So many begin in one turn of the event loop; answers come in between. Receivers that are quick need no more connections than that."""

_Tenant = UUID | None


class Paces:
    """The paces of endpoints, which both lanes share."""

    def __init__(self, limits: PaceLimits):
        self.limits = limits
        self._kept: dict[UUID, Pace] = {}

    def of(self, endpoint_id: UUID, rate_per_second: float | None) -> Pace:
        pace = self._kept.get(endpoint_id)
        if pace is None:
            pace = self._kept[endpoint_id] = Pace(self.limits, rate_per_second)
        return pace

    def known(self, endpoint_id: UUID) -> Pace | None:
        return self._kept.get(endpoint_id)

    def held(self, now: float) -> list[UUID]:
        """Endpoints to which nothing may be sent at the moment."""
        return [endpoint_id for endpoint_id, pace in self._kept.items() if pace.is_held(now)]

    def open_count(self) -> int:
        return sum(pace.is_open for pace in self._kept.values())

    def keep_only(self, endpoint_ids: set[UUID], now: float) -> None:
        """Forget those that have nothing to remember and are in no lane."""
        for endpoint_id, pace in list(self._kept.items()):
            if endpoint_id not in endpoint_ids and not pace.is_open and not pace.is_held(now):
                del self._kept[endpoint_id]

    def forget(self, endpoint_id: UUID) -> None:
        """The endpoint is not there any more."""
        self._kept.pop(endpoint_id, None)


class Share:
    """One endpoint's part of a lane."""

    __slots__ = ("done", "done_before", "in_flight", "lane", "listed", "pace", "target", "used_at", "waiting")

    def __init__(self, lane: "Lane", target: Target, pace: Pace, now: float):
        self.lane = lane
        self.target = target
        self.pace = pace
        self.waiting: deque[Leased] = deque()
        self.in_flight = 0
        self.listed = False
        """It has its place among those that are ready, or held back, or waiting for their time."""
        self.used_at = now
        self.done = 0
        self.done_before = 0
        """Attempts that ended in this second, and in the one before."""


class Lane:
    """`places` attempts at once, `endpoint_places` of one endpoint at most. `begin` starts one and must not fail."""

    def __init__(self, *, places: int, endpoint_places: int, paces: Paces, begin: Callable[[Leased, Share], None]):
        self.endpoint_places = min(endpoint_places, places)
        self._places = places
        self._paces = paces
        self._begin = begin
        self._shares: dict[UUID, Share] = {}
        self._ready: OrderedDict[_Tenant, deque[Share]] = OrderedDict()
        self._turns_left = 0
        self._held_back: deque[Share] = deque()
        self._timed: list[tuple[float, int, Share]] = []
        self._numbers = itertools.count()
        self._under_way: dict[Leased, Share] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._open = False
        self.is_blocked: Callable[[], bool] = lambda: False
        """Says that nothing may begin for now, whatever is free."""

    # -- what is there ---------------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def in_flight(self) -> int:
        return len(self._under_way)

    @property
    def waiting_count(self) -> int:
        return self._waiting

    @property
    def free(self) -> int:
        """Places that nothing is waiting for."""
        return max(0, self._places - len(self._under_way) - self._waiting) if self._open else 0

    @property
    def under_way(self) -> list[Leased]:
        return list(self._under_way)

    @property
    def waiting(self) -> Iterator[Leased]:
        return (leased for share in self._shares.values() for leased in share.waiting)

    @property
    def endpoint_ids(self) -> set[UUID]:
        return set(self._shares)

    def room(self, endpoint_id: UUID) -> int:
        """How many more of this endpoint can be accepted."""
        if not self._open or self._waiting_bytes >= WAITING_BYTES_MAX:
            return 0
        free = (WAITING_MAX - self._waiting) // 2
        pace = self._paces.known(endpoint_id)
        if pace is None:
            return max(0, min(free, WAITING_OF_ENDPOINT_MAX))
        now = time.monotonic()
        share = self._shares.get(endpoint_id)
        waiting = 0 if share is None else len(share.waiting)
        in_time = pace.room(now, ROOM_SECONDS)
        mine = (
            pace.window * WAITING_PER_PLACE
            if pace.failures
            else max(WAITING_OF_ENDPOINT_MAX, pace.window * WAITING_PER_PLACE)
        )
        if in_time is not None:
            mine = min(mine, in_time)
        return max(0, min(mine - waiting, free))

    def full(self) -> list[UUID]:
        """Endpoints for which nothing should be claimed now: held by their pace, or with more than half of their window in use."""
        now = time.monotonic()
        busy = [
            endpoint_id
            for endpoint_id, share in self._shares.items()
            if (share.in_flight + len(share.waiting)) * 2 > min(share.pace.window, self.endpoint_places)
        ]
        return list({*busy, *self._paces.held(now)})

    def pressure(self) -> int:
        """How many of those that wait will be under way within a second, at the rate of the last one."""
        # What has not shown its rate yet counts in full.
        now = time.monotonic()
        return sum(
            len(share.waiting)
            if share.pace.failures == 0 and now - share.used_at < ROOM_SECONDS and not share.done_before
            else min(len(share.waiting), share.done + share.done_before)
            for share in self._shares.values()
        )

    # -- what comes and goes ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take deliveries from now on."""
        self._open = True

    def close(self) -> list[Leased]:
        """Take no more; what was waiting is handed back."""
        self._open = False
        return self.withdraw(list(self._shares))

    def accept(self, leased: Sequence[Leased], targets: Callable[[UUID], Target | None]) -> Sequence[Leased]:
        """Attempt these when it is their turn (`fill`); those that have no target any more come back."""
        if not self._open:
            return leased
        now = time.monotonic()
        refused = []
        for one in leased:
            share = self._share(one.endpoint_id, targets, now)
            if share is None:
                refused.append(one)
                continue
            one.since = now
            share.waiting.append(one)
            self._waiting += 1
            self._waiting_bytes += len(one.event.message.body)
            if not share.listed:
                self._list(share, now)
        return refused

    def begin_now(self, leased: Leased, targets: Callable[[UUID], Target | None]) -> bool:
        """Attempt this one at once; False: there is no place for it, or others have waited for longer."""
        now = time.monotonic()
        free = self._places - len(self._under_way)
        if not self._open or self._ready or free <= 0 or self.is_blocked():
            return False
        share = self._share(leased.endpoint_id, targets, now)
        if share is None or share.waiting or share.pace.begin_at(now) > now:
            return False
        if share.in_flight >= min(share.pace.window, self.endpoint_places, free):
            return False
        self._start(share, leased, now)
        return True

    def ended(self, leased: Leased, now: float) -> None:
        """The place of this attempt is free again. What it met is known to the pace already."""
        share = self._under_way.pop(leased)
        share.in_flight -= 1
        share.done += 1
        if self._held_back:
            self._make_ready(self._held_back.popleft())
        if share.waiting and not share.listed:
            self._list(share, now)

    def nudge(self, endpoint_id: UUID) -> None:
        """The pace of this endpoint has changed: look at what waits for it again."""
        share = self._shares.get(endpoint_id)
        if share is not None and share.waiting and not share.listed:
            self._list(share, time.monotonic())

    def withdraw(self, endpoint_ids: Iterable[UUID]) -> list[Leased]:
        """Take back what waits for these endpoints."""
        taken: list[Leased] = []
        for endpoint_id in endpoint_ids:
            share = self._shares.get(endpoint_id)
            while share is not None and share.waiting:
                taken.append(self._next(share))
        return taken

    def withdraw_old(self, before: float) -> list[Leased]:
        """Take back what has been waiting since before that instant."""
        taken: list[Leased] = []
        for share in self._shares.values():
            while share.waiting and share.waiting[0].since < before:
                taken.append(self._next(share))
        return taken

    def retarget(self, endpoint_ids: Iterable[UUID], targets: Callable[[UUID], Target | None]) -> list[Leased]:
        """Endpoints have changed: what waits goes where they are now; what waits for one that is not enabled any more comes back."""
        gone = []
        for endpoint_id in endpoint_ids:
            share = self._shares.get(endpoint_id)
            if share is None:
                continue
            target = targets(endpoint_id)
            if target is None:
                gone.append(endpoint_id)
            else:
                share.target = target
                share.pace.set_rate(target.rate_limit_per_second)
        return self.withdraw(gone)

    def tick(self) -> None:
        """Once a second: measure, and forget who has not been here for long."""
        now = time.monotonic()
        for endpoint_id, share in list(self._shares.items()):
            if share.done or share.waiting or share.in_flight:
                share.done_before, share.done = share.done, 0
                if share.in_flight or share.waiting:
                    continue
                share.used_at = now
            elif now - share.used_at > IDLE_KEPT_SECONDS and not share.listed:
                del self._shares[endpoint_id]
            else:
                share.done_before = 0

    # -- turns -----------------------------------------------------------------------------------------------------------------

    def fill(self) -> float | None:
        """Begin what can begin, one of each endpoint in turn and `TURN_MAX` altogether; the next instant at which time lets more begin."""
        now = time.monotonic()
        while self._timed and self._timed[0][0] <= now:
            self._make_ready(heapq.heappop(self._timed)[2])
        if self._ready and not self.is_blocked():
            self._turns_left = TURN_MAX
            while self._ready and self._turns_left > 0 and len(self._under_way) < self._places:
                tenant_id, shares = self._ready.popitem(last=False)
                share = shares.popleft()
                if shares:
                    self._ready[tenant_id] = shares
                share.listed = False
                self._give_turn(share, now)
            if self._ready and self._turns_left <= 0:
                return now
        return self._timed[0][0] if self._timed else None

    def _give_turn(self, share: Share, now: float) -> None:
        """Begin one of this endpoint if that can be; then it queues up again, or waits for what it needs.

        Where nobody else is ready, its next turn comes at once.
        """
        if not self._open:
            return
        limit = min(share.pace.window, self.endpoint_places)
        # One that has its window full is listed again when one of its own ends.
        while share.waiting and share.in_flight < limit:
            if share.in_flight >= max(1, self._places - len(self._under_way)):
                share.listed = True
                self._held_back.append(share)
                return
            if share.pace.begin_at(now) > now:
                self._list(share, now)
                return
            leased = self._next(share)
            if leased.lease.held_until > now:
                self._turns_left -= 1
                self._start(share, leased, now)
            if self._ready or self._turns_left <= 0 or len(self._under_way) >= self._places:
                if share.waiting and share.in_flight < limit:
                    self._list(share, now)
                return

    def _start(self, share: Share, leased: Leased, now: float) -> None:
        share.in_flight += 1
        share.pace.began(now)
        leased.since = now
        self._under_way[leased] = share
        self._begin(leased, share)

    def _share(self, endpoint_id: UUID, targets: Callable[[UUID], Target | None], now: float) -> Share | None:
        share = self._shares.get(endpoint_id)
        if share is None:
            target = targets(endpoint_id)
            if target is None:
                return None
            pace = self._paces.of(endpoint_id, target.rate_limit_per_second)
            share = self._shares[endpoint_id] = Share(self, target, pace, now)
        return share

    def _list(self, share: Share, now: float) -> None:
        """Queue a share up for its turn, or for the instant of it."""
        at = share.pace.begin_at(now)
        if at <= now:
            self._make_ready(share)
        elif at < float("inf"):
            share.listed = True
            heapq.heappush(self._timed, (at, next(self._numbers), share))

    def _make_ready(self, share: Share) -> None:
        share.listed = True
        tenant_id = share.target.tenant_id
        shares = self._ready.get(tenant_id)
        if shares is None:
            shares = self._ready[tenant_id] = deque()
        shares.append(share)

    def _next(self, share: Share) -> Leased:
        leased = share.waiting.popleft()
        self._waiting -= 1
        self._waiting_bytes -= len(leased.event.message.body)
        return leased
