"""Actions: the units of work in a job."""

from jobs.actions.operations import create, delete, record_outcome, update
from jobs.actions.queries import get, list_actions
from jobs.actions.schemas import OutcomeIn

__all__ = ["OutcomeIn", "create", "delete", "get", "list_actions", "record_outcome", "update"]
