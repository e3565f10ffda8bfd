"""Actions, one by one: what is to be done in a job, and what became of it. The job is their aggregate: whoever changes one holds it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.changes import Held, hold, record
from jobs.domain.states import STOP_TYPES, CommandNotAllowed, Units, require_editable
from jobs.jobs import new_action
from jobs.models.changes import ACTIONS_MAX, OutcomeIn
from jobs.models.inputs import POSITION_MAX, STOP_MISPLACED, ActionIn
from jobs.models.tables import ActionRow
from jobs.patches import patched
from jobs.rows import action_of, no_such_action, require_job, visible_actions
from shared.access.authentication import Access
from shared.access.principals import Caller
from shared.api import IfMatch, Page, Paging, page
from shared.errors import Conflict, Invalid, Violation
from shared.events.jobs import ActionState

ACTIONS = frozenset({"actions"})
"""What a job's status must allow to be edited before an action is added, changed or deleted."""


class TooManyActions(Conflict):
    """The job has as many actions as a job can have."""

    def __init__(self) -> None:
        super().__init__(f"a job has {ACTIONS_MAX} actions at most", code="too_many_actions", actions_max=ACTIONS_MAX)


async def listing(session: AsyncSession, caller: Caller, job_id: str, paging: Paging) -> Page[ActionState]:
    """A page of the job's actions, in their order. Raises `NotFound`."""
    await require_job(session, caller, job_id)
    return await page(
        session,
        visible_actions(caller).where(col(ActionRow.job_id) == job_id),
        paging,
        by=(col(ActionRow.position), col(ActionRow.id)),
        view=action_of,
        descending=False,
    )


async def get(session: AsyncSession, caller: Caller, job_id: str, action_id: str) -> ActionState:
    """One action of the job. Raises `NotFound`."""
    row = await _find(session, caller, job_id, action_id)
    if row is None:
        await require_job(session, caller, job_id)
        raise no_such_action()
    return action_of(row)


async def add(session: AsyncSession, access: Access, caller: Caller, job_id: str, asked: ActionIn) -> ActionState:
    """A new action in the job, after those that it has unless it says where.

    Raises `NotFound`, `Invalid`, `NotEditable` or `TooManyActions`.
    """
    held = await hold(session, access, caller, job_id)
    row = held.row
    action = new_action(asked, job_id, row.type, _next_place(held), held.now)
    _require_stop_belongs(action.type, action.stop)
    require_editable(row.status, ACTIONS)
    if len(held.actions) >= ACTIONS_MAX:
        raise TooManyActions
    stored = action.model_dump(mode="json", exclude_none=True, exclude={"object", "created_at", "updated_at"})
    held.actions[action.id] = added = ActionRow(
        **stored,
        tenant_id=row.tenant_id,
        merchant_id=row.merchant_id,
        livemode=row.livemode,
        created_at=held.now,
        updated_at=held.now,
    )
    await record(session, caller, held, "action.created", action_id=action.id)
    return action_of(added)


async def patch(
    session: AsyncSession,
    access: Access,
    caller: Caller,
    job_id: str,
    action_id: str,
    patch: Mapping[str, Any],
    if_match: IfMatch,
) -> ActionState:
    """Apply a merge patch (`models.changes.ActionPatch`); one that changes nothing leaves the action as it is.

    Raises `NotFound`, `PreconditionFailed`, `Invalid` or `NotEditable`.
    """
    held = await hold(session, access, caller, job_id)
    action = held.action(action_id)
    if_match.check(action.version)
    asked = patched(ActionIn, action_of(action), patch)
    # Removed, these are what a new action has that says nothing of them.
    if "type" in asked:
        asked["type"] = asked["type"] or held.row.type
    if "position" in asked:
        asked["position"] = asked["position"] or _next_place(held, without=action_id)
    _require_stop_belongs(asked.get("type", action.type), asked.get("stop", action.stop))
    changed = {name: value for name, value in asked.items() if value != getattr(action, name)}
    if changed:
        require_editable(held.row.status, ACTIONS)
    for name, value in changed.items():
        setattr(action, name, value)
    await record(session, caller, held, "action.updated", action_id=action_id)
    return action_of(action)


async def delete(
    session: AsyncSession, access: Access, caller: Caller, job_id: str, action_id: str, if_match: IfMatch
) -> None:
    """Delete an action of the job; nothing when that was done before. Raises `NotFound`, `PreconditionFailed` or `NotEditable`."""
    held = await hold(session, access, caller, job_id)
    action = held.actions.get(action_id)
    if action is None:
        if await _find(session, caller, job_id, action_id, deleted=True) is None:
            raise no_such_action()
        return
    if_match.check(action.version)
    require_editable(held.row.status, ACTIONS)
    action.deleted_at = held.now
    await record(session, caller, held, "action.deleted", action_id=action_id)


async def settle(
    session: AsyncSession,
    access: Access,
    caller: Caller,
    job_id: str,
    action_id: str,
    outcome: OutcomeIn,
    if_match: IfMatch,
) -> ActionState:
    """Record what became of an action's units, or correct it, while the job is in progress; the same again changes nothing.

    Raises `NotFound`, `Invalid`, `PreconditionFailed` or `CommandNotAllowed`.
    """
    held = await hold(session, access, caller, job_id)
    action = held.action(action_id)
    units = Units(outcome.completed, outcome.incomplete, outcome.damaged)
    if outcome.completed + outcome.incomplete + outcome.damaged != action.quantity:
        message = f"completed, incomplete and damaged must add up to the action's quantity, which is {action.quantity}"
        raise Invalid("the request is not valid: see errors", Violation("/completed", "outcome_sum", message))
    if_match.check(action.version)
    recorded = outcome.model_dump(exclude_none=True)
    if recorded == action.outcome:
        return action_of(action)
    if held.row.status != "in_progress":
        raise CommandNotAllowed(held.row.status, "record_outcome")
    action.outcome = recorded
    action.status = units.status
    await record(session, caller, held, "action.outcome_recorded", action_id=action_id)
    return action_of(action)


async def _find(
    session: AsyncSession, caller: Caller, job_id: str, action_id: str, *, deleted: bool = False
) -> ActionRow | None:
    wanted = visible_actions(caller, deleted=deleted)
    wanted = wanted.where(col(ActionRow.id) == action_id, col(ActionRow.job_id) == job_id)
    return (await session.execute(wanted)).scalar_one_or_none()


def _next_place(held: Held, *, without: str | None = None) -> int:
    """The position after all actions of the job, this one excepted."""
    last = max((action.position for action in held.actions.values() if action.id != without), default=0)
    return min(last + 1, POSITION_MAX)


def _require_stop_belongs(action_type: str, stop: object) -> None:
    if stop is not None and action_type not in STOP_TYPES:
        violation = Violation("/stop", STOP_MISPLACED.type, STOP_MISPLACED.message())
        raise Invalid("the request is not valid: see errors", violation)
