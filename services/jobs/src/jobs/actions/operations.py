"""Create, update and delete one action, and record its outcome. Each locks the job that the action belongs to."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.actions.queries import find
from jobs.actions.schemas import OutcomeIn
from jobs.job_store import (
    ACTIONS_MAX,
    POSITION_MAX,
    STOP_MISPLACED,
    STOP_TYPES,
    Action,
    ActionIn,
    ActionRow,
    CommandNotAllowed,
    LockedJob,
    TooManyActions,
    Units,
    action_not_found,
    lock_for_update,
    new_action,
    require_editable,
    save,
    view_action,
)
from shared.access.principals import Caller
from shared.api import IfMatch
from shared.errors import Violation, invalid
from shared.fields.merge_patch import apply_patch

ACTIONS_FIELD = frozenset({"actions"})
"""The field of a job that its status must allow to change before an action is created, changed or deleted."""


async def create(session: AsyncSession, caller: Caller, job_id: str, requested: ActionIn) -> Action:
    """Create an action. Without a position it becomes the last one of the job.

    Raises `NotFound`, `Invalid`, `NotEditable` or `TooManyActions`.
    """
    locked = await lock_for_update(session, caller, job_id)
    row = locked.row
    action = new_action(requested, job_id, row.type, _next_position(locked), locked.now)
    _require_stop_allowed(action.type, action.stop)
    require_editable(row.status, ACTIONS_FIELD)
    if len(locked.actions) >= ACTIONS_MAX:
        raise TooManyActions
    stored = action.model_dump(mode="json", exclude_none=True, exclude={"object", "created_at", "updated_at"})
    locked.actions[action.id] = created = ActionRow(
        **stored,
        tenant_id=row.tenant_id,
        merchant_id=row.merchant_id,
        livemode=row.livemode,
        created_at=locked.now,
        updated_at=locked.now,
    )
    await save(session, caller, locked, "action.created", action_id=action.id)
    return view_action(created)


async def update(
    session: AsyncSession,
    caller: Caller,
    job_id: str,
    action_id: str,
    patch: Mapping[str, Any],
    if_match: IfMatch,
) -> Action:
    """Apply a merge patch (`ActionPatch`). A patch that changes nothing writes nothing.

    Raises `NotFound`, `PreconditionFailed`, `Invalid` or `NotEditable`.
    """
    locked = await lock_for_update(session, caller, job_id)
    action = locked.action(action_id, if_match)
    requested = apply_patch(ActionIn, view_action(action), patch)
    # Null sets the default of a new action.
    if "type" in requested:
        requested["type"] = requested["type"] or locked.row.type
    if "position" in requested:
        requested["position"] = requested["position"] or _next_position(locked, without=action_id)
    _require_stop_allowed(requested.get("type", action.type), requested.get("stop", action.stop))
    changed = {name: value for name, value in requested.items() if value != getattr(action, name)}
    if changed:
        require_editable(locked.row.status, ACTIONS_FIELD)
    for name, value in changed.items():
        setattr(action, name, value)
    await save(session, caller, locked, "action.updated", action_id=action_id)
    return view_action(action)


async def delete(session: AsyncSession, caller: Caller, job_id: str, action_id: str, if_match: IfMatch) -> None:
    """Delete an action. A deleted action is left as it is. Raises `NotFound`, `PreconditionFailed` or `NotEditable`."""
    locked = await lock_for_update(session, caller, job_id)
    if action_id not in locked.actions:
        if await find(session, caller, job_id, action_id, deleted=True) is None:
            raise action_not_found()
        return
    action = locked.action(action_id, if_match)
    require_editable(locked.row.status, ACTIONS_FIELD)
    action.deleted_at = locked.now
    await save(session, caller, locked, "action.deleted", action_id=action_id)


async def record_outcome(
    session: AsyncSession,
    caller: Caller,
    job_id: str,
    action_id: str,
    outcome: OutcomeIn,
    if_match: IfMatch,
) -> Action:
    """Record the outcome of an action, or correct it, while the job is in progress. The same outcome again writes nothing.

    Raises `NotFound`, `Invalid`, `PreconditionFailed` or `CommandNotAllowed`.
    """
    locked = await lock_for_update(session, caller, job_id)
    action = locked.action(action_id)
    units = Units(outcome.completed, outcome.incomplete, outcome.damaged)
    if outcome.completed + outcome.incomplete + outcome.damaged != action.quantity:
        message = f"the sum of completed, incomplete and damaged must be the action's quantity, {action.quantity}"
        raise invalid(Violation("/completed", "outcome_sum", message))
    if_match.check(action.version)
    recorded = outcome.model_dump(exclude_none=True)
    if recorded == action.outcome:
        return view_action(action)
    if locked.row.status != "in_progress":
        raise CommandNotAllowed(locked.row.status, "record_outcome")
    action.outcome = recorded
    action.status = units.status
    await save(session, caller, locked, "action.outcome_recorded", action_id=action_id)
    return view_action(action)


def _next_position(locked: LockedJob, *, without: str | None = None) -> int:
    """The position after all actions of the job except `without`."""
    last = max((action.position for action in locked.actions.values() if action.id != without), default=0)
    return min(last + 1, POSITION_MAX)


def _require_stop_allowed(action_type: str, stop: object) -> None:
    if stop is not None and action_type not in STOP_TYPES:
        violation = Violation("/stop", STOP_MISPLACED.type, STOP_MISPLACED.message())
        raise invalid(violation)
