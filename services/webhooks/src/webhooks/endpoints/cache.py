"""The enabled endpoints of all tenants, compiled for matching and unsealed for sending, in memory.

The database tells of each change as it is committed (NOTIFY by a trigger); what was changed lately is read again every second in case a
notice was lost. The fan-out names the last change that it knows of, and does nothing with an older view: an event that is published after
an endpoint's change was answered meets the endpoint as it is by then. What is attempted before it is stored goes by `is_current`.
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
"""Longer than any transaction that changes an endpoint is open."""
GATHER_SECONDS = 0.02
UNSETTLED = -1
"""No number of a change: somebody was changing an endpoint when the view was taken."""

_COLUMNS = """
    id, version, tenant_id, livemode, event_types, location_ids, enabled, deleted_at, url, headers_sealed, secret_sealed,
    previous_secret_sealed, previous_secret_until, signing_key_sealed, retry_schedule_seconds, rate_limit_per_second, ordered_by_job
"""
_ALL = text(f"SELECT {_COLUMNS} FROM endpoints WHERE enabled AND deleted_at IS NULL")  # noqa: S608 - fixed text
_SOME = text(f"SELECT {_COLUMNS} FROM endpoints WHERE id = ANY(CAST(:ids AS uuid[]))")  # noqa: S608 - fixed text
_RECENT = text(  # fixed text
    f"SELECT {_COLUMNS} FROM endpoints WHERE updated_at > now() - make_interval(secs => :seconds)"  # noqa: S608
)
# Whoever changes an endpoint draws a number, and holds this lock (shared) from before that until the transaction ends.
_LAST_CHANGE = text(
    f"SELECT last_value AS number, {is_free(AdvisoryLock.WEBHOOKS_ENDPOINT_CHANGES)} AS settled FROM endpoint_changes"  # noqa: S608
)

CachedRow = Row[tuple[object, ...]]


class EndpointCache:
    """Who wants what, and where it goes. For use inside one event loop."""

    def __init__(self, encryptor: Encryptor):
        self._encryptor = encryptor
        self._rows: dict[UUID, CachedRow] = {}
        self._of_tenant: dict[tuple[UUID, bool], dict[UUID, None]] = {}
        self._matchers: dict[tuple[UUID, bool], Matcher] = {}
        self._targets: dict[UUID, DeliveryTarget] = {}
        self._key_ends: dict[UUID, datetime] = {}
        self._loading = asyncio.Lock()
        self.last_change: int | None = None
        """Number of the last change that is known here with all before it; None: nothing was loaded yet."""
        self._is_behind = True
        """Something has changed, or may have, that is not known here."""
        self._changes: dict[UUID, int] = {}
        """Endpoints that have changed and are not read again yet, with the numbers of the changes."""
        self._notified = Wakeup()
        self.on_change: list[Callable[[Collection[UUID]], None]] = []
        """Called with the endpoints that are different from now on."""

    @property
    def is_current(self) -> bool:
        """Whether this is the view of a moment ago, as far as the database has told: no older than `REFRESH_SECONDS` at worst."""
        return self.last_change is not None and not self._is_behind

    def matching_endpoints(
        self, tenant_id: UUID, livemode: bool, event_type: str, location_ids: Sequence[UUID]
    ) -> Sequence[UUID]:
        """The endpoints that hear of an event."""
        key = tenant_id, livemode
        matcher = self._matchers.get(key)
        if matcher is None:
            mine = self._of_tenant.get(key)
            if mine is None:
                return ()
            matcher = self._matchers[key] = Matcher([_subscription(self._rows[one]) for one in mine])
        return matcher.matching_endpoints(event_type, location_ids)

    def target(self, endpoint_id: UUID) -> DeliveryTarget | None:
        """Where to send and how to sign; None for an endpoint that is not enabled."""
        target = self._targets.get(endpoint_id)
        if target is None:
            row = self._rows.get(endpoint_id)
            if row is None:
                return None
            if len(self._targets) >= TARGETS_KEPT_MAX:
                # The one that was unsealed first.
                del self._targets[next(iter(self._targets))]
            target = self._targets[endpoint_id] = to_delivery_target(self._encryptor, row, datetime.now(UTC))
        return target

    async def load(self, session: AsyncSession) -> None:
        """Read what has changed since the last look; everything with the first."""
        async with self._loading:
            # First the number, then the rows: what is changed in between is read again.
            last = (await session.execute(_LAST_CHANGE)).one()
            if self.last_change is None:
                rows = (await session.execute(_ALL)).all()
                gone = self._rows.keys() - {row.id for row in rows}
            else:
                rows = (await session.execute(_RECENT, {"seconds": RECENT_SECONDS})).all()
                gone = set()
            self._take(rows, gone)
            # While a change is not committed, no view is the latest.
            self.last_change = last.number if last.settled else UNSETTLED

    async def load_some(self, session: AsyncSession, endpoint_ids: Collection[UUID]) -> None:
        """Read these endpoints anew."""
        async with self._loading:
            rows = (await session.execute(_SOME, {"ids": list(endpoint_ids)})).all()
            self._take(rows, set())

    async def run(self, database: Database) -> None:
        """Keep up with changes until cancelled; a lost connection is made anew, and everything read again."""
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
            self._tell({endpoint_id})

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
            self._tell(changed)

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

    def _tell(self, endpoint_ids: Collection[UUID]) -> None:
        for listener in self.on_change:
            listener(endpoint_ids)


def _subscription(row: CachedRow) -> Subscription:
    locations = None if row.location_ids is None else frozenset(row.location_ids)
    return Subscription(row.id, tuple(row.event_types), locations)
