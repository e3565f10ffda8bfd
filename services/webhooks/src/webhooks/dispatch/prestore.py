"""Prestore dispatch: first attempts that begin as soon as their event arrives, before it is stored.

Kafka keeps the event until it is stored, so nothing is lost. If a worker dies, the attempts that it had in flight are made again. Results
wait here until the batch lease of their deliveries is committed.
"""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from webhooks.deliveries import AttemptResult
from webhooks.dispatch.scheduler import Scheduler
from webhooks.endpoints import EndpointCache
from webhooks.queue import Event, Lease, LeasedDelivery

NOT_STORED = 0
"""Instead of a token: the delivery has no lease yet, because its event is not stored."""
PRESTORE_EVENTS_MAX = 2048
STORED_MAX = 20_000
PRESTORE_SECONDS = 600.0
"""An event that is not stored after this time was handled by another consumer."""


@dataclass(slots=True)
class _Begun:
    leased: Sequence[LeasedDelivery]
    is_whole: bool
    """The attempts of all its deliveries have begun."""
    since: float


class PrestoreDispatch:
    """The attempts of this process whose events are not stored yet."""

    def __init__(self, scheduler: Scheduler, endpoint_cache: EndpointCache):
        self._scheduler = scheduler
        self._endpoint_cache = endpoint_cache
        self._begun: dict[UUID, _Begun] = {}
        self._results: dict[LeasedDelivery, AttemptResult] = {}
        self._stored: set[UUID] = set()
        self._stored_before: set[UUID] = set()
        """`_stored` and this have at least the last `STORED_MAX` stored events."""

    def begin(self, event: Event, endpoint_ids: Sequence[UUID]) -> None:
        """Begin first attempts of a new event: to endpoints that have a free slot and are not ordered by job."""
        if len(self._begun) >= PRESTORE_EVENTS_MAX or not self._scheduler.is_open:
            return
        if event.id in self._begun or event.id in self._stored or event.id in self._stored_before:
            # Kafka may have a record twice.
            return
        begun = []
        for endpoint_id in endpoint_ids:
            target = self._endpoint_cache.target(endpoint_id)
            if target is None or target.ordered_by_job:
                continue
            leased = LeasedDelivery(event, endpoint_id, Lease(NOT_STORED, math.inf, is_batch=True))
            if self._scheduler.begin_now(leased, self._endpoint_cache.target):
                begun.append(leased)
        self._begun[event.id] = _Begun(begun, len(begun) == len(endpoint_ids), time.monotonic())

    def begun(self, event_id: UUID) -> Sequence[LeasedDelivery]:
        """The deliveries of an event whose attempts have begun."""
        begun = self._begun.get(event_id)
        return begun.leased if begun is not None else ()

    def is_whole(self, event_ids: Collection[UUID]) -> bool:
        """True if the attempts of all deliveries of these events have begun."""
        return all((begun := self._begun.get(one)) is not None and begun.is_whole for one in event_ids)

    def ended(self, result: AttemptResult) -> None:
        """Keep the result of an attempt whose event is not stored yet."""
        result.leased.ended = True
        if any(one is result.leased for one in self.begun(result.leased.event.id)):
            self._results[result.leased] = result

    def stored(self, event_ids: Collection[UUID], begun: Sequence[LeasedDelivery], lease: Lease) -> list[AttemptResult]:
        """These events are stored, now or before, and `lease` holds the deliveries in `begun`. Returns their results so far."""
        for one in begun:
            one.lease = lease
        results = [result for one in begun if (result := self._results.pop(one, None)) is not None]
        if self._begun:
            for event_id in event_ids:
                self._forget(event_id)
        self._stored.update(event_ids)
        if len(self._stored) > STORED_MAX:
            self._stored, self._stored_before = set(), self._stored
        return results

    def forget_old(self) -> None:
        """Forget events that were not stored within `PRESTORE_SECONDS`."""
        before = time.monotonic() - PRESTORE_SECONDS
        for event_id in [event_id for event_id, begun in self._begun.items() if begun.since < before]:
            self._forget(event_id)

    def _forget(self, event_id: UUID) -> None:
        begun = self._begun.pop(event_id, None)
        for one in begun.leased if begun is not None else ():
            self._results.pop(one, None)
