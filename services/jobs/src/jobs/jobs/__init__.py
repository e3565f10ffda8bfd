"""Jobs: create, get, update, delete, restore and clone. Their tables are in `job_store`."""

from jobs.jobs.operations import clone, create, create_valid, delete, restore, update
from jobs.jobs.rules import ReferenceTaken

__all__ = ["ReferenceTaken", "clone", "create", "create_valid", "delete", "restore", "update"]
