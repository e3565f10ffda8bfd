"""What an attempt needs to know of its endpoint, unsealed and kept in memory as long as the endpoint does not change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from cachetools import LRUCache
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.auth.seal import KeyRing, SealBroken
from shared.ids import from_uuid
from webhooks.endpoints import open_headers

log = structlog.get_logger()

TARGETS_KEPT_MAX = 10_000

_LOAD = text(
    """
    SELECT id, version, url, headers_sealed, secret_sealed FROM endpoints
    WHERE id = ANY(CAST(:endpoint_ids AS uuid[])) AND secret_sealed IS NOT NULL
    """
)
_VERSIONS = text(
    """
    SELECT id, version FROM endpoints
    WHERE id = ANY(CAST(:endpoint_ids AS uuid[])) AND enabled AND deleted_at IS NULL
    """
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send and how to sign. Without `keys` the secret could not be opened: nothing may be sent."""

    endpoint_id: UUID
    version: int
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)


class Targets:
    """The targets of endpoints by version."""

    def __init__(self, ring: KeyRing):
        self._ring = ring
        self._kept: LRUCache[UUID, Target] = LRUCache(TARGETS_KEPT_MAX)

    async def of(self, session: AsyncSession, versions: Mapping[UUID, int]) -> dict[UUID, Target]:
        """The targets of these endpoints in at least these versions; one that was deleted meanwhile is left out."""
        missing = [
            endpoint_id
            for endpoint_id, version in versions.items()
            if (kept := self._kept.get(endpoint_id)) is None or kept.version < version
        ]
        if missing:
            for row in await session.execute(_LOAD, {"endpoint_ids": missing}):
                self._kept[row.id] = self._unsealed(row.id, row.version, row.url, row.headers_sealed, row.secret_sealed)
        found = ((endpoint_id, self._kept.get(endpoint_id)) for endpoint_id in versions)
        return {
            endpoint_id: target
            for endpoint_id, target in found
            if target is not None and target.version >= versions[endpoint_id]
        }

    def _unsealed(
        self, endpoint_id: UUID, version: int, url: str, headers_sealed: bytes | None, secret_sealed: bytes
    ) -> Target:
        name = from_uuid("ep", endpoint_id)
        try:
            headers = tuple(open_headers(self._ring, name, headers_sealed).items())
            return Target(endpoint_id, version, url, headers, (self._ring.open(secret_sealed, bound_to=name),))
        except SealBroken:
            # Its attempts say so in the log that the tenant sees; others are not to suffer from it.
            log.exception("endpoint_secret_unreadable", endpoint_id=name)
            return Target(endpoint_id, version, url, (), ())


async def current_versions(session: AsyncSession, endpoint_ids: Iterable[UUID]) -> dict[UUID, int]:
    """The versions of those endpoints that are enabled."""
    rows = await session.execute(_VERSIONS, {"endpoint_ids": list(endpoint_ids)})
    return {row.id: row.version for row in rows}
