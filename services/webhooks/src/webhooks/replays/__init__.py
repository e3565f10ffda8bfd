"""Replays: events of a time range that are sent to an endpoint again, or for the first time."""

from webhooks.replays.operations import ReplayLimits, cancel, create, enable_endpoint, get, list_replays
from webhooks.replays.tables import ReplayRow

__all__ = ["ReplayLimits", "ReplayRow", "cancel", "create", "enable_endpoint", "get", "list_replays"]
