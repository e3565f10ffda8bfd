"""Bulk commands: one command for all jobs that match the filters of the list."""
