"""Permissions, which endpoints an event concerns, and when a failing endpoint is disabled."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Literal
from uuid import UUID

from shared.errors import Invalid, Violation
from shared.events import jobs

READ = "settings.webhooks.read"
WRITE = "settings.webhooks.write"
REPLAY = "settings.webhooks.replay"

EVERYTHING = "*"
PATTERN_LENGTH_MAX = 100
TYPES_KEPT_MAX = 1000
TYPES = tuple(event.type_name() for event in jobs.EVENTS)
"""The types that endpoints can subscribe to."""
_PATTERNS = (*TYPES, *dict.fromkeys(f"{name.partition('.')[0]}.*" for name in TYPES))
_LIKENESS_MIN = 0.5
_PATTERN = re.compile(r"\*|[a-z][a-z0-9_]*(\.[a-z0-9_]+)*(\.\*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which events of its tenant and mode one enabled endpoint wants. `location_ids` None: of all locations."""

    endpoint_id: UUID
    event_types: tuple[str, ...]
    location_ids: frozenset[UUID] | None


def is_pattern(value: str) -> bool:
    """True for a type (`job.created`), a prefix (`job.*`) and `*`."""
    return len(value) <= PATTERN_LENGTH_MAX and _PATTERN.fullmatch(value) is not None


def matches_a_type(pattern: str) -> bool:
    """True if there are events of a type that this pattern wants."""
    return any(wants_type((pattern,), name) for name in TYPES)


def nearest_pattern(value: str) -> str | None:
    """The type or prefix that was probably meant; None if none is like it."""
    return next(iter(get_close_matches(value.lower(), _PATTERNS, 1, _LIKENESS_MIN)), None)


def wants_type(patterns: Sequence[str], event_type: str) -> bool:
    return any(
        pattern in (EVERYTHING, event_type) or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )


class Matcher:
    """The endpoints of one tenant in one mode, indexed by the events that they want."""

    def __init__(self, subscriptions: Sequence[Subscription]):
        self._subscriptions = tuple(subscriptions)
        self._by_type: dict[str, tuple[tuple[UUID, ...], dict[UUID, tuple[UUID, ...]]]] = {}

    def matching_endpoints(self, event_type: str, location_ids: Sequence[UUID]) -> Sequence[UUID]:
        """The endpoints that want an event of this type and these locations, each once."""
        found = self._by_type.get(event_type)
        if found is None:
            found = self._compile(event_type)
        everywhere, by_location = found
        if not by_location:
            return everywhere
        some = [by_location[one] for one in location_ids if one in by_location]
        if len(some) <= 1:
            return everywhere + some[0] if some else everywhere
        # A job that moved has two locations, and an endpoint may want both.
        return [*everywhere, *dict.fromkeys(endpoint_id for group in some for endpoint_id in group)]

    def _compile(self, event_type: str) -> tuple[tuple[UUID, ...], dict[UUID, tuple[UUID, ...]]]:
        matching_endpoints = [one for one in self._subscriptions if wants_type(one.event_types, event_type)]
        everywhere = tuple(one.endpoint_id for one in matching_endpoints if one.location_ids is None)
        by_location: dict[UUID, list[UUID]] = {}
        for one in matching_endpoints:
            for location_id in one.location_ids or ():
                by_location.setdefault(location_id, []).append(one.endpoint_id)
        found = everywhere, {location_id: tuple(ids) for location_id, ids in by_location.items()}
        if len(self._by_type) < TYPES_KEPT_MAX:
            self._by_type[event_type] = found
        return found


Verdict = Literal["warn", "disable"]


@dataclass(frozen=True, slots=True)
class DisablePolicy:
    """An endpoint is disabled after so many seconds without a success and so many failures, both."""

    seconds: float
    failures: int


def verdict(
    disable_policy: DisablePolicy, *, failing_since: datetime, failures: int, warned_at: datetime | None, now: datetime
) -> Verdict | None:
    """Whether to warn or disable an endpoint that has had no success since `failing_since`; None: neither now."""
    failing = now - failing_since
    if failing >= timedelta(seconds=disable_policy.seconds) and failures >= disable_policy.failures:
        return "disable"
    half = failing >= timedelta(seconds=disable_policy.seconds / 2) and failures * 2 >= disable_policy.failures
    return "warn" if half and warned_at is None else None


def require_valid(violations: Iterable[Violation], what: str) -> None:
    """Raise `Invalid` with these violations, if there are any."""
    found = list(violations)
    if found:
        raise Invalid(f"the {what} is invalid: see errors", *found)
