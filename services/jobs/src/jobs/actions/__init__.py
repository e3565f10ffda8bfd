"""Actions: the units of work of a job. Their table is in `job_store`."""

from jobs.actions.operations import create, delete, record_outcome, update
from jobs.actions.queries import get, list_actions
from jobs.actions.schemas import OutcomeIn

__all__ = ["OutcomeIn", "create", "delete", "get", "list_actions", "record_outcome", "update"]
