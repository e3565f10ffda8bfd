"""Retention: how long history and deleted jobs are kept."""
