"""Events: stored once, routed to the endpoints that want them, listed in a feed, kept for a number of days."""

from webhooks.events.event_types import TEST_EVENT, TestState, event_body
from webhooks.events.fan_out import SETTLED, FanOutResult
from webhooks.events.queries import get_message, get_subjects
from webhooks.events.tables import EventRow

__all__ = [
    "SETTLED",
    "TEST_EVENT",
    "EventRow",
    "FanOutResult",
    "TestState",
    "event_body",
    "get_message",
    "get_subjects",
]
