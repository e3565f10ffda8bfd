"""The consumer group of a service's access projection."""

from shared.access.projection import ACCESS_EVENTS
from shared.messaging.groups import ConsumerGroup

PURPOSE = "Projects who may do what into tables of its own, so that no service is called to authorize a request."


def group_name(service: str) -> str:
    """The name of the group."""
    return f"{service}.access"


def access_groups(service: str, *topics: str) -> list[ConsumerGroup]:
    """What the group reads of each of these topics."""
    return [
        ConsumerGroup(group_name(service), topic, [event for event in ACCESS_EVENTS if event.topic == topic], PURPOSE)
        for topic in topics
    ]
