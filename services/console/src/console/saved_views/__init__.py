"""Saved views: filters of a table that a person wants to find again."""

from console.saved_views.operations import SavedViews

__all__ = ["SavedViews"]
