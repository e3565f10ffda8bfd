"""When API credentials and API keys were last used, as every service reports it."""

from identity.last_used.operations import mark_former_keys_used, mark_used

__all__ = ["mark_former_keys_used", "mark_used"]
