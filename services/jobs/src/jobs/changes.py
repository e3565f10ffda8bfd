"""How a job changes: it is locked, its row and actions are altered, and `record` writes what became of it.

However many fields an operation alters, it is one change: the version goes up by one, one line of history is written and one event is
published, which carries the version as its sequence. So the sequence of a job's events has no gaps, and an operation that alters nothing
leaves no trace. The lock is on the job alone: its actions are altered only by whoever holds it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import cast, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text
from sqlmodel import col

from jobs.domain import terms
from jobs.models.inputs import Job
from jobs.models.tables import ActionRow, HistoryRow, JobRow
from jobs.rows import action_of, job_of, no_such_action, no_such_job, visible, visible_actions
from shared.access.authentication import Access
from shared.access.principals import Caller, Principal
from shared.api import IfMatch
from shared.errors import WaybillError
from shared.events.jobs import EVENTS, ActionState, JobChange, JobEvent, JobState
from shared.messaging import outbox

EVENT_TYPES: Mapping[str, type[JobEvent]] = {event.type_name(): event for event in EVENTS}
_UNCOUNTED = frozenset({"object", "allowed_transitions", "version", "updated_at", "status_changed_at"})
"""Fields that follow from others, or that every change changes."""


@dataclass(slots=True)
class Held:
    """A job locked by this transaction, to be altered: its row, its actions by id, and what it was before."""

    row: JobRow
    actions: dict[str, ActionRow]
    principal: Principal
    now: datetime
    before: Job

    def action(self, action_id: str) -> ActionRow:
        """One of its actions. Raises `NotFound`."""
        found = self.actions.get(action_id)
        if found is None:
            raise no_such_action()
        return found

    def view(self) -> Job:
        """The job as it is now."""
        return _view(self.row, self.actions.values())


async def hold(
    session: AsyncSession,
    access: Access,
    caller: Caller,
    job_id: str,
    if_match: IfMatch | None = None,
    *,
    deleted: bool = False,
) -> Held:
    """Lock a job that the caller sees, for a change in this transaction.

    Raises what has become of the caller's access since it was admitted, `NotFound`, or `PreconditionFailed` when `if_match` names another
    version.
    """
    (principal,) = await access.recheck(session, [caller])
    if isinstance(principal, WaybillError):
        raise principal
    wanted = visible(caller, deleted=deleted).where(col(JobRow.id) == job_id).with_for_update()
    row = (await session.execute(wanted)).scalar_one_or_none()
    if row is None:
        raise no_such_job()
    if if_match is not None:
        if_match.check(row.version)
    # Deleted with the job, when it is deleted; else those that are not.
    of_job = visible_actions(caller, deleted=deleted).where(
        col(ActionRow.job_id) == job_id, col(ActionRow.deleted_at).is_not_distinct_from(row.deleted_at)
    )
    actions = {action.id: action for action in (await session.execute(of_job)).scalars()}
    return Held(row, actions, principal, datetime.now(UTC), _view(row, actions.values()))


async def record(
    session: AsyncSession,
    caller: Caller,
    held: Held,
    event_type: str,
    *,
    action_id: str | None = None,
    unkept: Collection[str] = (),
) -> Job:
    """Write what was altered: row, history and event; the job as it is now. Nothing is written when nothing was altered.

    `event_type` is one of `EVENT_TYPES`; `action_id` says which action an `action.…` event is about. Of the `unkept` fields history
    tells that they changed, and not from what to what.
    """
    row, before = held.row, held.before
    altered = _altered_actions(session, held)
    changes = differences(before, held.view())
    if not changes:
        return before
    if "status" in changes:
        row.status_changed_at = held.now
    row.version += 1
    row.updated_at = held.now
    job = held.view()
    row.terms = as_terms(terms.job_terms(job, row.tenant_id))
    row.parts = terms.job_parts(job)
    row.customer_key = terms.customer_key(job.contact)
    for action in altered:
        state = action_of(action)
        action.terms = as_terms(terms.action_terms(state, row.tenant_id, row.merchant_id))
        action.parts = terms.action_parts(state)
    if action_id is not None:
        was, is_now = _action_in(before, action_id), _action_in(job, action_id)
        if was is not None and is_now is not None:
            changes = differences(was, is_now)
    data = JobChange(
        tenant_id=row.tenant_id,
        location_ids=list(dict.fromkeys([*locations_of(before), *locations_of(job)])),
        sequence=row.version,
        livemode=row.livemode,
        changed_fields=sorted(changes),
        action_id=action_id,
        job=JobState.model_validate(job.model_dump(exclude={"allowed_transitions"})),
    )
    event = EVENT_TYPES[event_type](
        type=event_type, tenant_id=row.tenant_id, subject=row.id, sequence=row.version, time=held.now, data=data
    )
    session.add(
        HistoryRow(
            job_id=row.id,
            sequence=row.version,
            occurred_at=held.now,
            event_id=event.id,
            type=event_type,
            actor=caller.actor,
            action_id=action_id,
            changed_fields=data.changed_fields,
            changes={name: change for name, change in changes.items() if name not in unkept},
        )
    )
    outbox.publish(session, event)
    await session.flush()
    return job


def differences(before: Job | ActionState | None, after: Job | ActionState | None) -> dict[str, Any]:
    """`{field: {"from", "to"}}` of the fields that differ, as JSON; of the actions in a job, those that differ."""
    was = {} if before is None else before.model_dump(mode="json", exclude=set(_UNCOUNTED))
    is_now = {} if after is None else after.model_dump(mode="json", exclude=set(_UNCOUNTED))
    found: dict[str, Any] = {
        name: {"from": was.get(name), "to": is_now.get(name)}
        for name in {**was, **is_now}
        if was.get(name) != is_now.get(name)
    }
    if "actions" in found:
        found["actions"] = _unlike(found["actions"]["from"] or [], found["actions"]["to"] or [])
    return found


def locations_of(job: JobState) -> list[str]:
    """The job's locations, each once."""
    return list(
        dict.fromkeys([job.location_id, *([job.distribution_location_id] if job.distribution_location_id else [])])
    )


def as_terms(found: Sequence[str]) -> Any:
    """Terms as the column holds them."""
    return func.array_to_tsvector(cast(list(found), ARRAY(Text)))


def _view(row: JobRow, actions: Iterable[ActionRow]) -> Job:
    kept = sorted((one for one in actions if one.deleted_at == row.deleted_at), key=lambda one: (one.position, one.id))
    return job_of(row, [action_of(action) for action in kept])


def _action_in(job: Job, action_id: str) -> ActionState | None:
    return next((action for action in job.actions if action.id == action_id), None)


def _altered_actions(session: AsyncSession, held: Held) -> list[ActionRow]:
    """The actions that are new or other than they were, each with its version raised."""
    known = {action.id: action for action in held.before.actions}
    altered = []
    for action in held.actions.values():
        if action.id not in known:
            session.add(action)
        elif differences(known[action.id], action_of(action)):
            action.version += 1
        else:
            continue
        action.updated_at = held.now
        altered.append(action)
    return altered


def _unlike(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    known = {action["id"]: action for action in before}
    present = {action["id"]: action for action in after}
    return {
        "from": [action for action in before if _settled(action) != _settled(present.get(action["id"]))],
        "to": [action for action in after if _settled(action) != _settled(known.get(action["id"]))],
    }


def _settled(action: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if action is None else {name: value for name, value in action.items() if name not in _UNCOUNTED}
