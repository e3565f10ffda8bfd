"""Retention of history and of deleted jobs."""
