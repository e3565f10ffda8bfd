"""The history of a job: its changes, each with its actor and its event. Retention of it: `retention.worker`."""

from jobs.history.queries import list_events

__all__ = ["list_events"]
