"""Which endpoints an event concerns: same tenant and mode, a wanted type, a common location."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

EVERYTHING = "*"
PATTERN_LENGTH_MAX = 100
_PATTERN = re.compile(r"\*|[a-z][a-z0-9_]*(\.[a-z0-9_]+)*(\.\*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one enabled endpoint wants to hear. `location_ids` None: of all locations."""

    endpoint_id: UUID
    version: int
    tenant_id: UUID
    livemode: bool
    event_types: tuple[str, ...]
    location_ids: frozenset[UUID] | None


def is_pattern(value: str) -> bool:
    """A type (`job.created`), everything below a word (`job.*`), or everything (`*`)."""
    return len(value) <= PATTERN_LENGTH_MAX and _PATTERN.fullmatch(value) is not None


def wants_type(patterns: Sequence[str], event_type: str) -> bool:
    return any(
        pattern in (EVERYTHING, event_type) or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
        for pattern in patterns
    )


def wants(
    subscription: Subscription, *, tenant_id: UUID, livemode: bool, event_type: str, location_ids: Collection[UUID]
) -> bool:
    """Whether this endpoint hears of an event of these locations (a job that moved has its old and its new ones)."""
    return (
        subscription.tenant_id == tenant_id
        and subscription.livemode == livemode
        and wants_type(subscription.event_types, event_type)
        and (subscription.location_ids is None or not subscription.location_ids.isdisjoint(location_ids))
    )
