"""When API credentials and API keys were last used, as every service reports it."""

from identity.last_used.operations import mark_used

__all__ = ["mark_used"]
