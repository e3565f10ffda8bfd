"""Records when credentials were last used: in memory for each accepted request, and published to identity from time to time.

A request costs one entry in a map. Every few seconds new uses are published through the outbox, each credential about once a minute at
most; an orderly stop publishes the rest. A crash loses at most a minute of uses, which is good enough to see whether a credential is
still needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.chassis.parts import periodically_until_the_end
from shared.events.access import CredentialUse, CredentialUsed, CredentialUses
from shared.messaging import outbox
from shared.postgres.database import Database

WRITE_SECONDS = 5.0
REPEAT_AFTER = timedelta(seconds=60)
"""A credential in steady use is published no more often than this."""
TRACKED_MAX = 50_000
USES_PER_EVENT_MAX = 1000

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Use:
    used_at: datetime
    former_key_used_at: datetime | None = None
    published_at: datetime = _NEVER
    """The latest `used_at` that was published."""


class LastUsedTracker:
    """Tracks the credentials that one process has accepted."""

    def __init__(
        self,
        database: Database,
        *,
        service: str,
        tracked_max: int = TRACKED_MAX,
    ):
        self._database = database
        self._service = service
        self._tracked_max = tracked_max
        self._tracked: dict[str, _Use] = {}

    def note(self, credential_id: str, used_at: datetime, *, former_key: bool = False) -> None:
        """Record that a request with this credential, or its former key, was accepted. A full map takes no further credentials."""
        use = self._tracked.get(credential_id)
        if use is not None:
            use.used_at = used_at
        elif len(self._tracked) < self._tracked_max:
            use = self._tracked[credential_id] = _Use(used_at)
        if former_key and use is not None:
            use.former_key_used_at = used_at

    async def run(self) -> None:
        """Publish every few seconds until cancelled, then publish the rest."""
        await periodically_until_the_end(self.write, WRITE_SECONDS)

    async def write(self, now: datetime, *, rest: bool = False) -> int:
        """Publish the uses that are due, or with `rest` all new ones; returns how many. When it fails, they are published later."""
        due = [
            (credential_id, use, use.used_at)
            for credential_id, use in self._tracked.items()
            if use.used_at > use.published_at and (rest or now - use.published_at >= REPEAT_AFTER)
        ]
        if due:
            uses = [
                CredentialUse(credential_id=name, used_at=used_at, former_key_used_at=use.former_key_used_at)
                for name, use, used_at in due
            ]
            async with self._database.transaction() as session:
                for start in range(0, len(uses), USES_PER_EVENT_MAX):
                    outbox.publish(session, self._event(uses[start : start + USES_PER_EVENT_MAX]))
        for _, use, used_at in due:
            use.published_at = used_at
        self._drop_published(now)
        return len(due)

    def _event(self, uses: Sequence[CredentialUse]) -> CredentialUsed:
        return CredentialUsed(tenant_id=None, subject=self._service, sequence=0, data=CredentialUses(uses=list(uses)))

    def _drop_published(self, now: datetime) -> None:
        # A full map makes room for others at once; the same credential may then be published again sooner.
        kept = timedelta() if len(self._tracked) >= self._tracked_max else REPEAT_AFTER
        self._tracked = {
            credential_id: use
            for credential_id, use in self._tracked.items()
            if use.used_at > use.published_at or now - use.published_at < kept
        }
