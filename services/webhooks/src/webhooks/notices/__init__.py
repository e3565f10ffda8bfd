"""Live notices of events and results."""

from webhooks.notices.operations import ENDPOINTS, EVENTS, announce_events, announce_results

__all__ = ["ENDPOINTS", "EVENTS", "announce_events", "announce_results"]
