"""The hub of one process: hears the notices of all processes, and passes them on to the streams of those who may see the records."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.chassis.parts import Wakeup
from shared.live.announcer import CHANNEL, EVERYTHING, SPACING_SECONDS, Audience, add_names
from shared.postgres.database import Database
from shared.postgres.listener import Listener

REFRESH_SECONDS = 60.0
"""Seconds between proofs that the connection lives."""


@dataclass(slots=True)
class Changes:
    """What has changed since the changes before. False, if nothing has."""

    names: set[str] = field(default_factory=set)
    """Records (`jobs/job_01h…`), or a collection (`jobs`) of which many have changed."""
    everything: bool = False
    """Whether anything may have changed, because notices were missed."""

    def __bool__(self) -> bool:
        return bool(self.names) or self.everything


class Subscription:
    """The notices for one stream. For an audience with a merchant only those of this merchant's records."""

    def __init__(self, audience: Audience, collections: Collection[str]):
        self._audience = audience
        self._collections = frozenset(collections)
        self._changes = Changes(everything=True)
        self._woken = Wakeup()
        self._access_doubtful = False
        self._ended = False

    async def changes(
        self, recheck: Callable[[], Awaitable[object]], *, idle_seconds: float, seconds_max: float
    ) -> AsyncIterator[Changes]:
        """What changes, from now on: first everything, then names, at most every `SPACING_SECONDS`; after `idle_seconds` without, nothing.

        `recheck` raises when the subscriber may not hear of it any more; it is asked before anything is told after a change of access,
        and whenever nothing has changed for a while. Ends after `seconds_max`, or when the process is about to stop.
        """
        ends_at = time.monotonic() + seconds_max
        while not self._ended and time.monotonic() < ends_at:
            self._woken.clear()
            if self._access_doubtful or not self._changes:
                self._access_doubtful = False
                await recheck()
            if self._ended:
                return
            changes, self._changes = self._changes, Changes()
            yield changes
            if not self._ended:
                await asyncio.sleep(SPACING_SECONDS)
            await self._woken.wait(max(0.0, min(idle_seconds, ends_at - time.monotonic())))

    def hear(self, merchant_id: str | None, names: Collection[str]) -> None:
        """Note what has changed, if the subscriber may see it."""
        if self._audience.merchant_id not in (None, merchant_id):
            return
        known = self._changes.names
        add_names(known, (name for name in names if name.partition("/")[0] in self._collections))
        if known:
            self._woken.set()

    def miss(self) -> None:
        """Note that anything may have changed."""
        self._changes.everything = True
        self._woken.set()

    def doubt(self) -> None:
        """Have the subscriber's access checked again, now."""
        self._access_doubtful = True
        self._woken.set()

    def end(self) -> None:
        self._ended = True
        self._woken.set()


class Hub:
    """The subscriptions of one process, served while `run` runs."""

    def __init__(self, database: Database, *, service: str):
        self._subscriptions: dict[tuple[str, bool], set[Subscription]] = defaultdict(set)
        self._ended = False
        self.run = Listener(
            database,
            CHANNEL,
            application_name=f"{service}-live",
            on_notify=self.on_notify,
            on_connected=self._miss,
            on_lost=lambda: None,
            refresh=database.ping,
            refresh_seconds=REFRESH_SECONDS,
        ).run

    @contextmanager
    def subscribe(self, audience: Audience, collections: Collection[str]) -> Iterator[Subscription]:
        """Notices of records in these collections (`jobs`), while the block runs."""
        subscription = Subscription(audience, collections)
        if self._ended:
            subscription.end()
        key = (audience.tenant_id, audience.livemode)
        self._subscriptions[key].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[key].discard(subscription)
            if not self._subscriptions[key]:
                del self._subscriptions[key]

    def on_notify(self, payload: str) -> None:
        """Pass a notice on."""
        if payload == EVERYTHING:
            self._miss()
            return
        tenant_id, livemode, merchant_id, names = json.loads(payload)
        for subscription in self._subscriptions.get((tenant_id, livemode), ()):
            subscription.hear(merchant_id, names)

    def doubt(self, tenants: str) -> None:
        """Have the access of these tenants' subscribers checked again (comma-separated ids, or `*`)."""
        doubtful = set(tenants.split(","))
        for (tenant_id, _), subscriptions in self._subscriptions.items():
            if tenants == "*" or tenant_id in doubtful:
                for subscription in subscriptions:
                    subscription.doubt()

    def end(self) -> None:
        """End all subscriptions, now and from now on: the process is about to stop."""
        self._ended = True
        for subscription in self._all():
            subscription.end()

    def _miss(self) -> None:
        for subscription in self._all():
            subscription.miss()

    def _all(self) -> list[Subscription]:
        return [one for subscriptions in self._subscriptions.values() for one in subscriptions]
