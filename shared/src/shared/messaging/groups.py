"""What the consumer groups of a service read, for its AsyncAPI document."""

from collections.abc import Collection
from dataclasses import dataclass

from shared.events import Event


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """One group of a service: the topic, the event types that it reads of it, and what for."""

    name: str
    topic: str
    events: Collection[type[Event]]
    purpose: str
