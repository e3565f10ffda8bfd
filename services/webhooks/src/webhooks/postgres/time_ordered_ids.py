"""UUIDs of version 7 and the instants in them. Rows are read and partitioned by the instant in the id of their event."""

from datetime import UTC, datetime
from uuid import UUID


def made_at(time_ordered_id: UUID) -> datetime:
    """The instant in a UUID of version 7."""
    return datetime.fromtimestamp((time_ordered_id.int >> 80) / 1000, UTC)


def first_id_of_day(instant: datetime, *, days_before: int = 0) -> UUID:
    """The smallest UUID of the day (UTC) of this instant, or of the day that is `days_before` earlier."""
    day = int(instant.timestamp() // 86_400) - days_before
    return UUID(int=max(0, day) * 86_400_000 << 80)
