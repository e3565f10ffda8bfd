"""Previews: which events of the past an endpoint would have got."""

from webhooks.match_previews.queries import preview_match

__all__ = ["preview_match"]
