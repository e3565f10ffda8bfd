"""Health of endpoints: since when an endpoint has only failed, how often, and when it is warned and disabled.

Each worker counts in memory and writes every few seconds. The row of an endpoint without failures is never written. Instants are of the
database's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.ids import from_uuid
from webhooks.endpoints import operations
from webhooks.endpoints.rules import DisablePolicy, verdict

# A success in any worker ends the streak; failures after it begin a new one.
_RESET = text(
    """
    UPDATE endpoints SET failing_since = NULL, failures_since = 0, warned_at = NULL, next_probe_at = NULL
    WHERE id = ANY(CAST(:ids AS uuid[])) AND failing_since IS NOT NULL
    """
)
_COUNT = text(
    """
    UPDATE endpoints SET failing_since = coalesce(failing_since, now()),
        failures_since = least(CAST(failures_since AS bigint) + f.failures, 2147483647),
        next_probe_at = greatest(next_probe_at, now() + make_interval(secs => f.pause_seconds))
    FROM unnest(CAST(:ids AS uuid[]), CAST(:failures AS int[]), CAST(:pauses_seconds AS float8[])) AS f (id, failures, pause_seconds)
    WHERE endpoints.id = f.id AND enabled
    RETURNING endpoints.id, failing_since, failures_since, warned_at, now() AS at
    """
)


@dataclass(slots=True)
class FailureStreak:
    """Results of an endpoint that are not written yet."""

    succeeded: bool = False
    failures: int = 0
    """Failures after the last success."""


class FailureStreaks:
    """The failure streaks of all endpoints that are not written yet."""

    def __init__(self) -> None:
        self._streaks: dict[UUID, FailureStreak] = {}

    def note(self, endpoint_id: UUID, *, succeeded: bool) -> None:
        streak = self._streaks.get(endpoint_id)
        if streak is None:
            streak = self._streaks[endpoint_id] = FailureStreak()
        if succeeded:
            streak.succeeded, streak.failures = True, 0
        else:
            streak.failures += 1

    def take(self) -> Mapping[UUID, FailureStreak]:
        """Return and clear the streaks."""
        taken, self._streaks = self._streaks, {}
        return taken

    def put_back(self, streaks: Mapping[UUID, FailureStreak]) -> None:
        """Merge streaks that could not be written with the later ones."""
        for endpoint_id, before in streaks.items():
            after = self._streaks.get(endpoint_id)
            if after is None:
                self._streaks[endpoint_id] = before
            elif not after.succeeded:
                self._streaks[endpoint_id] = FailureStreak(before.succeeded, before.failures + after.failures)


async def write_streaks(
    session: AsyncSession,
    streaks: Mapping[UUID, FailureStreak],
    disable_policy: DisablePolicy,
    pauses_seconds: Mapping[UUID, float],
) -> None:
    """Write the streaks; warn and disable endpoints that have failed for too long.

    `pauses_seconds`: how long the circuit breaker of an endpoint is still open in this process, where it is.
    """
    succeeded = sorted(endpoint_id for endpoint_id, streak in streaks.items() if streak.succeeded)
    failing = sorted((endpoint_id, streak.failures) for endpoint_id, streak in streaks.items() if streak.failures)
    if succeeded:
        await session.execute(_RESET, {"ids": succeeded})
    if not failing:
        return
    values = {
        "ids": [endpoint_id for endpoint_id, _ in failing],
        "failures": [count for _, count in failing],
        "pauses_seconds": [pauses_seconds.get(endpoint_id) for endpoint_id, _ in failing],
    }
    due: dict[str, list[str]] = {"warn": [], "disable": []}
    at: datetime | None = None
    for row in await session.execute(_COUNT, values):
        at = row.at
        found = verdict(
            disable_policy,
            failing_since=row.failing_since,
            failures=row.failures_since,
            warned_at=row.warned_at,
            now=row.at,
        )
        if found is not None:
            due[found].append(from_uuid("ep", row.id))
    if at is not None and due["warn"]:
        await operations.warn(session, due["warn"], at)
    if at is not None and due["disable"]:
        await operations.disable_automatically(session, due["disable"], operations.FAILING, at)
