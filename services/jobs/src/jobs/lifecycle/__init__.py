"""Commands that move a job from one status to the next: accept, assign, start, complete, fail, report damage, resolve, cancel."""

from jobs.lifecycle.operations import assign, run_command
from jobs.lifecycle.schemas import Reason

__all__ = ["Reason", "assign", "run_command"]
