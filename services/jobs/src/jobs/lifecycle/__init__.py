"""Commands that move a job from one status to the next: accept, assign, start, complete, fail, report damage, resolve, cancel."""

from jobs.lifecycle.operations import assign, run_command

__all__ = ["assign", "run_command"]
