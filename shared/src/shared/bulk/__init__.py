"""Bulk commands: one command for every record that matches the filters of a list, carried out step by step in the background.

A row has what is asked for and how far it is; a task has a worker take the next step. A step is one transaction: it applies the command
to some records, each as its own route would, and stores the position after them. A step that is killed has done nothing.
"""

from shared.bulk.operations import Bulk, Matching, cancel, create, get, shown
from shared.bulk.schemas import BulkRefusal, BulkStatus, BulkView
from shared.bulk.tables import BulkRow, table_args
from shared.bulk.worker import PURGE_SECONDS, BulkWorker

__all__ = [
    "PURGE_SECONDS",
    "Bulk",
    "BulkRefusal",
    "BulkRow",
    "BulkStatus",
    "BulkView",
    "BulkWorker",
    "Matching",
    "cancel",
    "create",
    "get",
    "shown",
    "table_args",
]
