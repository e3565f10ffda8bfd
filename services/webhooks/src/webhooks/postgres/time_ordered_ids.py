"""Instants and ids of version 7: rows are read and partitioned by the instant inside their event's id."""

from datetime import UTC, datetime
from uuid import UUID


def made_at(time_ordered_id: UUID) -> datetime:
    """The instant inside a UUID of version 7."""
    return datetime.fromtimestamp((time_ordered_id.int >> 80) / 1000, UTC)


def first_id_at(instant: datetime) -> UUID:
    """The smallest UUID of that millisecond."""
    return UUID(int=max(0, int(instant.timestamp() * 1000)) << 80)


def first_id_of_day(instant: datetime, *, days_before: int = 0) -> UUID:
    """The smallest UUID of the day of this instant, in UTC, or of one so many days before."""
    day = int(instant.timestamp() // 86_400) - days_before
    return UUID(int=max(0, day) * 86_400_000 << 80)
