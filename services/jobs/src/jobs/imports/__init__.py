"""Imports: files of jobs that are read in the background.

`file_intake` stores the file of a request, `worker` reads it, and `batch_writer` creates its jobs.
"""

from jobs.imports.operations import cancel, claim, delete_stale, end_import, lock_for_update, release, take_announcement
from jobs.imports.queries import get, list_errors, list_imports

__all__ = [
    "cancel",
    "claim",
    "delete_stale",
    "end_import",
    "get",
    "list_errors",
    "list_imports",
    "lock_for_update",
    "release",
    "take_announcement",
]
