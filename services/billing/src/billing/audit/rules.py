"""Who made a change by hand."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change: the id of a person or key, and the network address."""

    id: str
    address: str | None
