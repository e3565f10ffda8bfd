"""The history of a job: what each change did, who caused it, and the event that was published."""

from jobs.history.queries import list_events

__all__ = ["list_events"]
