"""The enabled endpoints of all tenants in memory: compiled for matching, with decrypted secrets for sending.

A trigger notifies of each change when it is committed (NOTIFY); recent changes are read again every second, in case a notification was
lost. Each change has a number. The fan-out passes the last number that is known here, and stores nothing if there is a later one: an event
that is published after an endpoint was changed is matched with the changed endpoint. First attempts that begin before their event is stored
need `is_current`.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.chassis.parts import Wakeup
from shared.crypto.encryptor import Encryptor
from shared.postgres.advisory_locks import AdvisoryLock, is_free
from shared.postgres.database import Database
from shared.postgres.listener import Listener
from webhooks.endpoints.rules import Matcher, Subscription
from webhooks.endpoints.secrets import to_delivery_target
from webhooks.http_client import DeliveryTarget

CHANNEL = "webhooks_endpoints"
TARGETS_KEPT_MAX = 10_000
REFRESH_SECONDS = 1.0
RECENT_SECONDS = 60.0
"""Changes of so many last seconds are read again: more than any transaction that changes an endpoint takes."""
GATHER_SECONDS = 0.02
UNSETTLED = -1
"""Instead of the number of the last change: a transaction that changes an endpoint was open, so the cache may be stale."""

_COLUMNS = """
    id, version, tenant_id, livemode, event_types, location_ids, enabled, deleted_at, url, headers_sealed, secret_sealed,
    previous_secret_sealed, previous_secret_until, signing_key_sealed, retry_schedule_seconds, rate_limit_per_second, ordered_by_job
"""
_ALL = text(f"SELECT {_COLUMNS} FROM endpoints WHERE enabled AND deleted_at IS NULL")  # noqa: S608 - fixed text
_SOME = text(f"SELECT {_COLUMNS} FROM endpoints WHERE id = ANY(CAST(:ids AS uuid[]))")  # noqa: S608 - fixed text
_RECENT = text(  # fixed text
    f"SELECT {_COLUMNS} FROM endpoints WHERE updated_at > now() - make_interval(secs => :seconds)"  # noqa: S608
)
# A transaction that changes an endpoint takes this lock (shared) until its end, and then the next number. `settled`: there is none.
_LAST_CHANGE = text(
    f"SELECT last_value AS number, {is_free(AdvisoryLock.WEBHOOKS_ENDPOINT_CHANGES)} AS settled FROM endpoint_changes"  # noqa: S608
)

CachedRow = Row[tuple[object, ...]]


class EndpointCache:
    """The enabled endpoints: which events they want, and their delivery targets. For use inside one event loop."""

    def __init__(self, encryptor: Encryptor):
        self._encryptor = encryptor
        self._rows: dict[UUID, CachedRow] = {}
        self._of_tenant: dict[tuple[UUID, bool], dict[UUID, None]] = {}
        self._matchers: dict[tuple[UUID, bool], Matcher] = {}
        self._targets: dict[UUID, DeliveryTarget] = {}
        self._key_ends: dict[UUID, datetime] = {}
        self._loading = asyncio.Lock()
        self.last_change: int | None = None
        """The number of the last change up to which all are known here; `UNSETTLED`; None: nothing is loaded yet."""
        self._is_behind = True
        """There is, or may be, a change that is not known here."""
        self._changes: dict[UUID, int] = {}
        """Changed endpoints that are to be read again, with the numbers of the changes."""
        self._notified = Wakeup()
        self.on_change: list[Callable[[Collection[UUID]], None]] = []
        """Called with the endpoints that have changed here."""

    @property
    def is_current(self) -> bool:
        """True if no endpoint change is pending. If a notification was lost, this may be wrong for `REFRESH_SECONDS`."""
        return self.last_change is not None and not self._is_behind

    def matching_endpoints(
        self, tenant_id: UUID, livemode: bool, event_type: str, location_ids: Sequence[UUID]
    ) -> Sequence[UUID]:
        """The endpoints that want an event."""
        key = tenant_id, livemode
        matcher = self._matchers.get(key)
        if matcher is None:
            mine = self._of_tenant.get(key)
            if mine is None:
                return ()
            matcher = self._matchers[key] = Matcher([_subscription(self._rows[one]) for one in mine])
        return matcher.matching_endpoints(event_type, location_ids)

    def target(self, endpoint_id: UUID) -> DeliveryTarget | None:
        """The delivery target of an endpoint; None if it is not enabled."""
        target = self._targets.get(endpoint_id)
        if target is None:
            row = self._rows.get(endpoint_id)
            if row is None:
                return None
            if len(self._targets) >= TARGETS_KEPT_MAX:
                # The one that was decrypted first.
                del self._targets[next(iter(self._targets))]
            target = self._targets[endpoint_id] = to_delivery_target(self._encryptor, row, datetime.now(UTC))
        return target

    async def load(self, session: AsyncSession) -> None:
        """Read recent changes; the first time read all enabled endpoints."""
        async with self._loading:
            # First the number, then the rows: a change in between is read again.
            last = (await session.execute(_LAST_CHANGE)).one()
            if self.last_change is None:
                rows = (await session.execute(_ALL)).all()
                gone = self._rows.keys() - {row.id for row in rows}
            else:
                rows = (await session.execute(_RECENT, {"seconds": RECENT_SECONDS})).all()
                gone = set()
            self._take(rows, gone)
            # While a change is not committed, it is not known whether the rows are the latest.
            self.last_change = last.number if last.settled else UNSETTLED

    async def load_some(self, session: AsyncSession, endpoint_ids: Collection[UUID]) -> None:
        """Read these endpoints again."""
        async with self._loading:
            rows = (await session.execute(_SOME, {"ids": list(endpoint_ids)})).all()
            self._take(rows, set())

    async def run(self, database: Database) -> None:
        """Follow changes until cancelled. After a lost connection all endpoints are read again."""
        await Listener(
            database,
            CHANNEL,
            application_name="webhooks-endpoints",
            on_notify=self._on_notify,
            on_connected=self._on_connected,
            on_lost=self._on_lost,
            refresh=partial(self._refresh, database),
            refresh_seconds=REFRESH_SECONDS,
            wakeup=self._notified,
        ).run()

    def _on_notify(self, payload: str) -> None:
        endpoint_id, _, number = payload.partition(" ")
        self._changes[UUID(endpoint_id)] = int(number)
        self._is_behind = True
        self._notified.set()

    def _on_connected(self) -> None:
        self._changes.clear()
        self.last_change = None

    def _on_lost(self) -> None:
        self._is_behind = True

    async def _refresh(self, database: Database) -> None:
        if self._changes:
            # One read for all changes that come together.
            await asyncio.sleep(GATHER_SECONDS)
        changes, self._changes = self._changes, {}
        try:
            await self._catch_up(database, changes)
        except Exception:
            self._changes = {**changes, **self._changes}
            self._is_behind = True
            raise
        self._is_behind = bool(self._changes)

    async def _catch_up(self, database: Database, changes: dict[UUID, int]) -> None:
        async with database.reading() as session:
            if changes and self.last_change is not None:
                await self.load_some(session, changes)
                for number in sorted(changes.values()):
                    if self.last_change not in (None, UNSETTLED) and number == self.last_change + 1:
                        self.last_change = number
            else:
                await self.load(session)
        now = datetime.now(UTC)
        for endpoint_id in [one for one, until in self._key_ends.items() if until <= now]:
            del self._key_ends[endpoint_id]
            self._targets.pop(endpoint_id, None)
            self._announce({endpoint_id})

    def _take(self, rows: Sequence[CachedRow], gone: Collection[UUID]) -> None:
        changed = set(gone)
        for endpoint_id in gone:
            self._forget(endpoint_id)
        for row in rows:
            known = self._rows.get(row.id)
            if known == row or (known is not None and known.version > row.version):
                continue
            if known is None and not (row.enabled and row.deleted_at is None):
                continue
            self._forget(row.id)
            changed.add(row.id)
            if row.enabled and row.deleted_at is None:
                self._rows[row.id] = row
                key = row.tenant_id, row.livemode
                self._of_tenant.setdefault(key, {})[row.id] = None
                self._matchers.pop(key, None)
                if row.previous_secret_until is not None:
                    self._key_ends[row.id] = row.previous_secret_until
        if changed:
            self._announce(changed)

    def _forget(self, endpoint_id: UUID) -> None:
        self._targets.pop(endpoint_id, None)
        self._key_ends.pop(endpoint_id, None)
        row = self._rows.pop(endpoint_id, None)
        if row is not None:
            key = row.tenant_id, row.livemode
            self._matchers.pop(key, None)
            mine = self._of_tenant[key]
            mine.pop(endpoint_id, None)
            if not mine:
                del self._of_tenant[key]

    def _announce(self, endpoint_ids: Collection[UUID]) -> None:
        for listener in self.on_change:
            listener(endpoint_ids)


def _subscription(row: CachedRow) -> Subscription:
    locations = None if row.location_ids is None else frozenset(row.location_ids)
    return Subscription(row.id, tuple(row.event_types), locations)
