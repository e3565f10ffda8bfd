"""Commands: what dispatch, and whoever cancels, does with a job. `domain.states` says what may follow what.

A command whose work is already done is answered with the job as it is, so that it can be repeated without harm.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.changes import hold, record
from jobs.domain.states import SATISFIED, Command, JobStatus, Units, completed_status, next_status
from jobs.models.changes import Reason
from jobs.models.inputs import Job
from jobs.models.tables import ActionRow
from shared.access.authentication import Access
from shared.access.principals import Caller
from shared.api import IfMatch

_FATES: Mapping[Command, Literal["completed", "incomplete", "damaged"]] = MappingProxyType(
    {"complete": "completed", "fail": "incomplete", "report_damage": "damaged"}
)
"""What a command makes of actions whose outcome nobody has recorded, in full."""

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
"""What is told of a job that has reached this status."""


async def move(
    session: AsyncSession,
    access: Access,
    caller: Caller,
    job_id: str,
    command: Command,
    if_match: IfMatch,
    given: Reason | None = None,
) -> Job:
    """Carry out a command; a reason that is given becomes the job's. Raises `NotFound`, `PreconditionFailed`, `CommandNotAllowed`."""
    held = await hold(session, access, caller, job_id, if_match)
    row = held.row
    status = next_status(row.status, command, dispatches=caller.may("orders.dispatch"))
    if row.status in SATISFIED[command]:
        return held.before
    if command in _FATES:
        outcomes = {action_id: _outcome(action, _FATES[command]) for action_id, action in held.actions.items()}
        if command == "complete":
            status = completed_status(outcomes.values())
        for action_id, units in outcomes.items():
            _settle(held.actions[action_id], units)
    row.status = status
    if given is not None and given.reason is not None:
        row.status_reason = given.reason
    return await record(session, caller, held, _EVENT_TYPES.get(status, "job.updated"))


async def assign(
    session: AsyncSession, access: Access, caller: Caller, job_id: str, assigned_to: str, if_match: IfMatch
) -> Job:
    """Say who carries the job out. Raises as `move` does."""
    held = await hold(session, access, caller, job_id, if_match)
    held.row.status = next_status(held.row.status, "assign", dispatches=caller.may("orders.dispatch"))
    held.row.assigned_to = assigned_to
    return await record(session, caller, held, "job.updated")


def _outcome(action: ActionRow, fate: Literal["completed", "incomplete", "damaged"]) -> Units:
    if action.outcome is None:
        return Units(**{fate: action.quantity})
    return Units(action.outcome["completed"], action.outcome["incomplete"], action.outcome["damaged"])


def _settle(action: ActionRow, units: Units) -> None:
    if action.outcome is None:
        action.outcome = {"completed": units.completed, "incomplete": units.incomplete, "damaged": units.damaged}
        action.status = units.status
