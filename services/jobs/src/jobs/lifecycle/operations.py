"""Run a command on a job. `job_store.rules` says which status follows which.

A command that has nothing to do returns the job unchanged, so a client can repeat it safely.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job_store import (
    SATISFIED,
    ActionRow,
    Command,
    Job,
    JobStatus,
    Units,
    completed_status,
    lock_for_update,
    next_status,
    save,
)
from jobs.lifecycle.schemas import Reason
from shared.access.principals import Caller
from shared.api import IfMatch

_DEFAULT_OUTCOMES: Mapping[Command, Literal["completed", "incomplete", "damaged"]] = MappingProxyType(
    {"complete": "completed", "fail": "incomplete", "report_damage": "damaged"}
)
"""The outcome that a command sets for all units of actions without one."""

_EVENT_TYPES: Mapping[JobStatus, str] = MappingProxyType(
    {
        "in_progress": "job.started",
        "completed": "job.completed",
        "partially_completed": "job.partially_completed",
        "incomplete": "job.incomplete",
        "damaged": "job.damaged",
        "resolved": "job.resolved",
        "cancelled": "job.cancelled",
    }
)
"""The event of a job that has reached a status; other statuses publish `job.updated`."""


async def run_command(
    session: AsyncSession,
    caller: Caller,
    job_id: str,
    command: Command,
    if_match: IfMatch,
    reason: Reason | None = None,
) -> Job:
    """Run a command. A reason becomes the job's `status_reason`. Raises `NotFound`, `PreconditionFailed`, `CommandNotAllowed`."""
    locked = await lock_for_update(session, caller, job_id, if_match)
    row = locked.row
    status = next_status(row.status, command, dispatches=caller.may("orders.dispatch"))
    if row.status in SATISFIED[command]:
        return locked.before
    if command in _DEFAULT_OUTCOMES:
        outcomes = {
            action_id: _outcome(action, _DEFAULT_OUTCOMES[command]) for action_id, action in locked.actions.items()
        }
        if command == "complete":
            status = completed_status(outcomes.values())
        for action_id, units in outcomes.items():
            _set_outcome(locked.actions[action_id], units)
    row.status = status
    if reason is not None and reason.reason is not None:
        row.status_reason = reason.reason
    return await save(session, caller, locked, _EVENT_TYPES.get(status, "job.updated"))


async def assign(session: AsyncSession, caller: Caller, job_id: str, assigned_to: str, if_match: IfMatch) -> Job:
    """Set who does the work of the job. Raises the same errors as `run_command`."""
    locked = await lock_for_update(session, caller, job_id, if_match)
    locked.row.status = next_status(locked.row.status, "assign", dispatches=caller.may("orders.dispatch"))
    locked.row.assigned_to = assigned_to
    return await save(session, caller, locked, "job.updated")


def _outcome(action: ActionRow, default: Literal["completed", "incomplete", "damaged"]) -> Units:
    if action.outcome is None:
        return Units(**{default: action.quantity})
    return Units(action.outcome["completed"], action.outcome["incomplete"], action.outcome["damaged"])


def _set_outcome(action: ActionRow, units: Units) -> None:
    if action.outcome is None:
        action.outcome = {"completed": units.completed, "incomplete": units.incomplete, "damaged": units.damaged}
        action.status = units.status
