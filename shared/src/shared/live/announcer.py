"""The announcer of one process: collects what its transactions have changed, and tells all processes by NOTIFY.

A NOTIFY in each transaction would cost most of its speed, because PostgreSQL commits transactions with notifications one after the
other. So a commit only adds names to a set in memory, and every `SPACING_SECONDS` one statement tells what has gathered. A process that
dies in between loses its last notices.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.chassis.parts import Wakeup, periodically
from shared.events import Event
from shared.messaging import outbox
from shared.postgres.database import Database

CHANNEL = "live_notices"
EVERYTHING = "*"
"""The payload after which all streams take everything for changed."""
SPACING_SECONDS = 0.25
NAMES_MAX = 100
"""Names of records in one notice; if more have changed, it has the names of their collections alone."""
AUDIENCES_MAX = 1_000
"""Audiences told by one statement; if more have changes, all streams take everything for changed."""
IDLE_SECONDS = 3600.0
_GATHERED = "live_notices"
_NOTIFY = text("SELECT pg_notify(:channel, payload) FROM unnest(CAST(:payloads AS text[])) AS payload")


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may see a record: the administrators of a tenant in one mode and, where it belongs to a merchant, that merchant."""

    tenant_id: str
    livemode: bool
    merchant_id: str | None = None


NoticesOf = Callable[[Event], Iterable[tuple[Audience, str]]]
"""The records that have changed by an event, each with those who may see it."""


def announce(session: AsyncSession, audience: Audience, name: str) -> None:
    """Tell, if the transaction commits, that this record has changed. Its name is its path in the API: `jobs/job_01h…`."""
    session.info.setdefault(_GATHERED, []).append((audience, name))


class Announcer:
    """Tells what this process has changed, while `run` runs."""

    def __init__(self, database: Database, notices_of: NoticesOf | None = None):
        self._database = database
        self._notices_of = notices_of
        self._changed: dict[Audience, set[str]] = {}
        self._too_many = False
        self._woken = Wakeup()
        self.run = periodically(self._tell, IDLE_SECONDS, wakeup=self._woken)

    def attach(self) -> None:
        """Have every transaction of the database announce its events and its notices. Call it before the outbox is attached."""
        if self._notices_of is not None:
            self._database.before_commit.append(self._gather_events)
        self._database.after_commit.append(self._note_gathered)

    def note(self, audience: Audience, *names: str) -> None:
        """Tell soon that these records have changed."""
        known = self._changed.get(audience)
        if known is None:
            if len(self._changed) >= AUDIENCES_MAX:
                self._too_many = True
                self._changed.clear()
            known = self._changed[audience] = set()
        add_names(known, names)
        self._woken.set()

    async def _gather_events(self, session: AsyncSession) -> None:
        assert self._notices_of is not None
        for event in outbox.pending(session):
            for audience, name in self._notices_of(event):
                announce(session, audience, name)

    def _note_gathered(self, session: AsyncSession) -> None:
        for audience, name in session.info.pop(_GATHERED, ()):
            self.note(audience, name)

    async def _tell(self) -> None:
        changed, self._changed = self._changed, {}
        too_many, self._too_many = self._too_many, False
        if not changed and not too_many:
            return
        payloads = [EVERYTHING] if too_many else [_payload(*one) for one in changed.items()]
        try:
            async with self._database.reading() as session:
                await session.execute(_NOTIFY, {"channel": CHANNEL, "payloads": payloads})
        except Exception:
            self._too_many = True
            raise
        await asyncio.sleep(SPACING_SECONDS)


def add_names(known: set[str], names: Iterable[str]) -> None:
    """Add names to others. The name of a collection stands for all of its records."""
    known.update(name for name in names if name.partition("/")[0] not in known)
    if len(known) > NAMES_MAX:
        collections = {name.partition("/")[0] for name in known}
        known.clear()
        known.update(collections)


def _payload(audience: Audience, names: set[str]) -> str:
    return json.dumps([audience.tenant_id, audience.livemode, audience.merchant_id, sorted(names)])
