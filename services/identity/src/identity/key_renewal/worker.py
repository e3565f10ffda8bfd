"""Digests with the newest pepper what is used under an older one, in every replica with an API.

Only keys that are presented to identity: another service that could say what a key is stored as could put its own in the place of any.
"""

from identity import key_renewal
from shared.access.credentials import Peppers
from shared.chassis.parts import Part, Wakeup, periodically
from shared.postgres.database import Database

RENEW_SECONDS = 60.0
"""Between two looks where nothing was used."""
WAITING_MAX = 1_000
"""Credentials that wait. Beyond, the next use of a credential counts."""


class UsedKeys:
    """Keys that were verified with an older pepper; they stay in memory until their digests are renewed."""

    def __init__(self, database: Database, peppers: Peppers):
        self._database = database
        self._peppers = peppers
        self._waiting: dict[tuple[str, str], None] = {}
        self._wakeup = Wakeup()
        self.part = Part(
            "digests of used keys",
            periodically(self._renew, RENEW_SECONDS, wakeup=self._wakeup, failure_event="digest_not_renewed"),
            role="api",
        )

    def note(self, credential_id: str, key: str) -> None:
        """Renew the digest of this key soon."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting[credential_id, key] = None
            self._wakeup.set()

    async def _renew(self) -> None:
        for credential_id, key in list(self._waiting):
            async with self._database.transaction() as session:
                await key_renewal.redigest_used(session, self._peppers, credential_id, key)
            del self._waiting[credential_id, key]
