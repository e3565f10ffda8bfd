"""Jobs: create, get, update, delete, restore and clone."""

from jobs.jobs.operations import Order, clone, create, delete, restore, update
from jobs.jobs.queries import get
from jobs.jobs.rules import ReferenceTaken

__all__ = ["Order", "ReferenceTaken", "clone", "create", "delete", "get", "restore", "update"]
