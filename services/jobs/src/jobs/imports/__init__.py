"""Imports: files of jobs that are read in the background.

`file_intake` stores the file of a request, `worker` reads it, and `batch_writer` creates its jobs.
"""

from jobs.imports.operations import (
    IMPORT,
    begin_turn,
    cancel,
    delete_stale,
    end_import,
    give_up,
    lock_for_update,
)
from jobs.imports.queries import get, list_errors, list_imports

__all__ = [
    "IMPORT",
    "begin_turn",
    "cancel",
    "delete_stale",
    "end_import",
    "get",
    "give_up",
    "list_errors",
    "list_imports",
    "lock_for_update",
]
