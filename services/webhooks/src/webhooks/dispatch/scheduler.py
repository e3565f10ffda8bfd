"""Slots for attempts in flight, shared fairly, and the deliveries that wait for a slot.

First attempts and retries have a scheduler each. Tenants take turns, and so do the endpoints of a tenant. No endpoint has more attempts in
flight than its window, nor more than there are free slots: so there are slots left however many endpoints hang. Deliveries beyond a limit
per endpoint, or that wait for too long, go back to the queue in the database.
"""

import heapq
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

from webhooks.dispatch.throttle import EndpointThrottle, EndpointThrottles
from webhooks.http_client import DeliveryTarget
from webhooks.queue import LeasedDelivery

WAITING_MAX = 65_536
WAITING_BYTES_MAX = 64 * 1024 * 1024
WAITING_OF_ENDPOINT_MAX = 2048
WAITING_PER_SLOT = 8
ROOM_SECONDS = 1.0
"""An endpoint with a rate keeps no more deliveries in memory than may begin within this time."""
IDLE_KEPT_SECONDS = 60.0
TURN_MAX = 64
"""Attempts that begin in one turn of the event loop; responses are read in between.

So fast receivers need no more connections than this.
"""

_Tenant = UUID | None


class EndpointQueue:
    """The deliveries of one endpoint in a scheduler."""

    __slots__ = (
        "done",
        "done_before",
        "in_flight",
        "is_enqueued",
        "scheduler",
        "target",
        "throttle",
        "used_at",
        "waiting",
    )

    def __init__(self, scheduler: "Scheduler", target: DeliveryTarget, throttle: EndpointThrottle, now: float):
        self.scheduler = scheduler
        self.target = target
        self.throttle = throttle
        self.waiting: deque[LeasedDelivery] = deque()
        self.in_flight = 0
        self.is_enqueued = False
        """It is in one of the scheduler's lists: ready, over its share of free slots, or timed."""
        self.used_at = now
        self.done = 0
        self.done_before = 0
        """Attempts that ended in this second (`done`) and in the one before."""


class Scheduler:
    """`slots` attempts in flight at once, `endpoint_slots` of one endpoint at most. `begin` starts an attempt and must not raise."""

    def __init__(
        self,
        *,
        slots: int,
        endpoint_slots: int,
        throttles: EndpointThrottles,
        begin: Callable[[LeasedDelivery, EndpointQueue], None],
    ):
        self.endpoint_slots = min(endpoint_slots, slots)
        self._slots = slots
        self._throttles = throttles
        self._begin = begin
        self._endpoint_queues: dict[UUID, EndpointQueue] = {}
        self._ready: OrderedDict[_Tenant, deque[EndpointQueue]] = OrderedDict()
        self._turns_left = 0
        self._over_share: deque[EndpointQueue] = deque()
        """Endpoints with as many attempts in flight as there are free slots."""
        self._timed: list[tuple[float, int, EndpointQueue]] = []
        self._numbers = itertools.count()
        self._under_way: dict[LeasedDelivery, EndpointQueue] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._open = False
        self.is_blocked: Callable[[], bool] = lambda: False
        """Returns True while no attempt may begin, even if slots are free."""

    # -- state -----------------------------------------------------------------------------------------------------------------

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
        """Slots that are free and for which no delivery waits."""
        return max(0, self._slots - len(self._under_way) - self._waiting) if self._open else 0

    @property
    def under_way(self) -> list[LeasedDelivery]:
        return list(self._under_way)

    @property
    def waiting(self) -> Iterator[LeasedDelivery]:
        return (leased for endpoint_queue in self._endpoint_queues.values() for leased in endpoint_queue.waiting)

    @property
    def endpoint_ids(self) -> set[UUID]:
        return set(self._endpoint_queues)

    def room(self, endpoint_id: UUID) -> int:
        """How many more deliveries to this endpoint can be accepted."""
        if not self._open or self._waiting_bytes >= WAITING_BYTES_MAX:
            return 0
        free = (WAITING_MAX - self._waiting) // 2
        throttle = self._throttles.known(endpoint_id)
        if throttle is None:
            return max(0, min(free, WAITING_OF_ENDPOINT_MAX))
        now = time.monotonic()
        endpoint_queue = self._endpoint_queues.get(endpoint_id)
        waiting = 0 if endpoint_queue is None else len(endpoint_queue.waiting)
        in_time = throttle.room(now, ROOM_SECONDS)
        mine = (
            throttle.window * WAITING_PER_SLOT
            if throttle.failures
            else max(WAITING_OF_ENDPOINT_MAX, throttle.window * WAITING_PER_SLOT)
        )
        if in_time is not None:
            mine = min(mine, in_time)
        return max(0, min(mine - waiting, free))

    def full(self) -> list[UUID]:
        """Endpoints for which nothing should be claimed now: held by their throttle, or with more than half of their window in use."""
        now = time.monotonic()
        busy = [
            endpoint_id
            for endpoint_id, endpoint_queue in self._endpoint_queues.items()
            if (endpoint_queue.in_flight + len(endpoint_queue.waiting)) * 2
            > min(endpoint_queue.throttle.window, self.endpoint_slots)
        ]
        return list({*busy, *self._throttles.held(now)})

    def pressure(self) -> int:
        """How many waiting deliveries will begin within a second, estimated from the attempts of the last one."""
        # All deliveries count of an endpoint whose rate is not known yet.
        now = time.monotonic()
        return sum(
            len(endpoint_queue.waiting)
            if endpoint_queue.throttle.failures == 0
            and now - endpoint_queue.used_at < ROOM_SECONDS
            and not endpoint_queue.done_before
            else min(len(endpoint_queue.waiting), endpoint_queue.done + endpoint_queue.done_before)
            for endpoint_queue in self._endpoint_queues.values()
        )

    # -- deliveries ------------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Accept deliveries from now on."""
        self._open = True

    def close(self) -> list[LeasedDelivery]:
        """Accept no more; return the waiting deliveries."""
        self._open = False
        return self.withdraw(list(self._endpoint_queues))

    def accept(
        self, leased: Sequence[LeasedDelivery], targets: Callable[[UUID], DeliveryTarget | None]
    ) -> Sequence[LeasedDelivery]:
        """Attempt these when it is their turn (`fill`). Returns those whose endpoint is not enabled any more."""
        if not self._open:
            return leased
        now = time.monotonic()
        refused = []
        for one in leased:
            endpoint_queue = self._endpoint_queue(one.endpoint_id, targets, now)
            if endpoint_queue is None:
                refused.append(one)
                continue
            one.since = now
            endpoint_queue.waiting.append(one)
            self._waiting += 1
            self._waiting_bytes += len(one.event.message.body)
            if not endpoint_queue.is_enqueued:
                self._enqueue(endpoint_queue, now)
        return refused

    def begin_now(self, leased: LeasedDelivery, targets: Callable[[UUID], DeliveryTarget | None]) -> bool:
        """Attempt this delivery at once. False if there is no free slot or others have waited for longer."""
        now = time.monotonic()
        free = self._slots - len(self._under_way)
        if not self._open or self._ready or free <= 0 or self.is_blocked():
            return False
        endpoint_queue = self._endpoint_queue(leased.endpoint_id, targets, now)
        if endpoint_queue is None or endpoint_queue.waiting or endpoint_queue.throttle.begin_at(now) > now:
            return False
        if endpoint_queue.in_flight >= min(endpoint_queue.throttle.window, self.endpoint_slots, free):
            return False
        self._start(endpoint_queue, leased, now)
        return True

    def ended(self, leased: LeasedDelivery, now: float) -> None:
        """Free the slot of this attempt. The throttle has its result already."""
        endpoint_queue = self._under_way.pop(leased)
        endpoint_queue.in_flight -= 1
        endpoint_queue.done += 1
        if self._over_share:
            self._make_ready(self._over_share.popleft())
        if endpoint_queue.waiting and not endpoint_queue.is_enqueued:
            self._enqueue(endpoint_queue, now)

    def nudge(self, endpoint_id: UUID) -> None:
        """Enqueue an endpoint again, because its throttle lets attempts begin earlier now."""
        endpoint_queue = self._endpoint_queues.get(endpoint_id)
        if endpoint_queue is not None and endpoint_queue.waiting and not endpoint_queue.is_enqueued:
            self._enqueue(endpoint_queue, time.monotonic())

    def withdraw(self, endpoint_ids: Iterable[UUID]) -> list[LeasedDelivery]:
        """Remove and return the waiting deliveries of these endpoints."""
        taken: list[LeasedDelivery] = []
        for endpoint_id in endpoint_ids:
            endpoint_queue = self._endpoint_queues.get(endpoint_id)
            while endpoint_queue is not None and endpoint_queue.waiting:
                taken.append(self._next(endpoint_queue))
        return taken

    def withdraw_old(self, before: float) -> list[LeasedDelivery]:
        """Remove and return deliveries that have waited since before this instant."""
        taken: list[LeasedDelivery] = []
        for endpoint_queue in self._endpoint_queues.values():
            while endpoint_queue.waiting and endpoint_queue.waiting[0].since < before:
                taken.append(self._next(endpoint_queue))
        return taken

    def retarget(
        self, endpoint_ids: Iterable[UUID], targets: Callable[[UUID], DeliveryTarget | None]
    ) -> list[LeasedDelivery]:
        """Use the present targets of changed endpoints. Returns the waiting deliveries of those that are not enabled any more."""
        gone = []
        for endpoint_id in endpoint_ids:
            endpoint_queue = self._endpoint_queues.get(endpoint_id)
            if endpoint_queue is None:
                continue
            target = targets(endpoint_id)
            if target is None:
                gone.append(endpoint_id)
            else:
                endpoint_queue.target = target
                endpoint_queue.throttle.set_rate(target.rate_limit_per_second)
        return self.withdraw(gone)

    def tick(self) -> None:
        """Once a second: measure rates, and remove endpoints that have been idle for long."""
        now = time.monotonic()
        for endpoint_id, endpoint_queue in list(self._endpoint_queues.items()):
            if endpoint_queue.done or endpoint_queue.waiting or endpoint_queue.in_flight:
                endpoint_queue.done_before, endpoint_queue.done = endpoint_queue.done, 0
                if endpoint_queue.in_flight or endpoint_queue.waiting:
                    continue
                endpoint_queue.used_at = now
            elif now - endpoint_queue.used_at > IDLE_KEPT_SECONDS and not endpoint_queue.is_enqueued:
                del self._endpoint_queues[endpoint_id]
            else:
                endpoint_queue.done_before = 0

    # -- slots -----------------------------------------------------------------------------------------------------------------

    def fill(self) -> float | None:
        """Begin attempts, one of each endpoint in turn and at most `TURN_MAX`.

        Returns when to call again, or None if nothing waits for time.
        """
        now = time.monotonic()
        while self._timed and self._timed[0][0] <= now:
            self._make_ready(heapq.heappop(self._timed)[2])
        if self._ready and not self.is_blocked():
            self._turns_left = TURN_MAX
            while self._ready and self._turns_left > 0 and len(self._under_way) < self._slots:
                tenant_id, endpoint_queues = self._ready.popitem(last=False)
                endpoint_queue = endpoint_queues.popleft()
                if endpoint_queues:
                    self._ready[tenant_id] = endpoint_queues
                endpoint_queue.is_enqueued = False
                self._give_turn(endpoint_queue, now)
            if self._ready and self._turns_left <= 0:
                return now
        return self._timed[0][0] if self._timed else None

    def _give_turn(self, endpoint_queue: EndpointQueue, now: float) -> None:
        """Begin one attempt of this endpoint if it may, then enqueue it again.

        If no other endpoint is ready it has its next turn at once.
        """
        if not self._open:
            return
        limit = min(endpoint_queue.throttle.window, self.endpoint_slots)
        # An endpoint whose window is full is enqueued again when one of its attempts ends.
        while endpoint_queue.waiting and endpoint_queue.in_flight < limit:
            if endpoint_queue.in_flight >= max(1, self._slots - len(self._under_way)):
                endpoint_queue.is_enqueued = True
                self._over_share.append(endpoint_queue)
                return
            if endpoint_queue.throttle.begin_at(now) > now:
                self._enqueue(endpoint_queue, now)
                return
            leased = self._next(endpoint_queue)
            if leased.lease.held_until > now:
                self._turns_left -= 1
                self._start(endpoint_queue, leased, now)
            if self._ready or self._turns_left <= 0 or len(self._under_way) >= self._slots:
                if endpoint_queue.waiting and endpoint_queue.in_flight < limit:
                    self._enqueue(endpoint_queue, now)
                return

    def _start(self, endpoint_queue: EndpointQueue, leased: LeasedDelivery, now: float) -> None:
        endpoint_queue.in_flight += 1
        endpoint_queue.throttle.began(now)
        leased.since = now
        self._under_way[leased] = endpoint_queue
        self._begin(leased, endpoint_queue)

    def _endpoint_queue(
        self, endpoint_id: UUID, targets: Callable[[UUID], DeliveryTarget | None], now: float
    ) -> EndpointQueue | None:
        endpoint_queue = self._endpoint_queues.get(endpoint_id)
        if endpoint_queue is None:
            target = targets(endpoint_id)
            if target is None:
                return None
            throttle = self._throttles.of(endpoint_id, target.rate_limit_per_second)
            endpoint_queue = self._endpoint_queues[endpoint_id] = EndpointQueue(self, target, throttle, now)
        return endpoint_queue

    def _enqueue(self, endpoint_queue: EndpointQueue, now: float) -> None:
        """Enqueue an endpoint for its next turn: now, or at the instant that its throttle allows."""
        at = endpoint_queue.throttle.begin_at(now)
        if at <= now:
            self._make_ready(endpoint_queue)
        elif at < float("inf"):
            endpoint_queue.is_enqueued = True
            heapq.heappush(self._timed, (at, next(self._numbers), endpoint_queue))

    def _make_ready(self, endpoint_queue: EndpointQueue) -> None:
        endpoint_queue.is_enqueued = True
        tenant_id = endpoint_queue.target.tenant_id
        endpoint_queues = self._ready.get(tenant_id)
        if endpoint_queues is None:
            endpoint_queues = self._ready[tenant_id] = deque()
        endpoint_queues.append(endpoint_queue)

    def _next(self, endpoint_queue: EndpointQueue) -> LeasedDelivery:
        leased = endpoint_queue.waiting.popleft()
        self._waiting -= 1
        self._waiting_bytes -= len(leased.event.message.body)
        return leased
