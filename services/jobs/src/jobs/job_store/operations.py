"""How a job is inserted, and how it changes: it is locked, its row and actions are changed, and `save` writes the result.

An operation is one change, however many fields it touches: the version goes up by one, one line of history is written and one event
is published with the version as its sequence. So the sequence of a job's events has no gaps, and an operation that changes nothing
leaves no trace. Only the job's row is locked: its actions are changed only under this lock.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import cast, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text
from sqlmodel import col

from jobs import search_index
from jobs.job_store.queries import (
    action_not_found,
    job_not_found,
    view_action,
    view_job,
    visible_actions_to,
    visible_to,
)
from jobs.job_store.rules import JobType, locations_of
from jobs.job_store.schemas import ActionIn, Job
from jobs.job_store.tables import ActionRow, HistoryRow, JobRow
from shared.access.principals import Caller
from shared.api import ANY_VERSION, IfMatch
from shared.events.jobs import EVENTS, ActionState, JobChange, JobEvent, JobState
from shared.ids import from_uuid, known_uuid, new_id, to_uuid
from shared.messaging import outbox

EVENT_TYPES: Mapping[str, type[JobEvent]] = {event.type_name(): event for event in EVENTS}
_DERIVED_FIELDS = frozenset({"object", "allowed_transitions", "version", "updated_at", "status_changed_at"})
"""Fields that follow from others, or that every change changes."""


@dataclass(slots=True)
class LockedJob:
    """A job locked by this transaction, to be altered: its row, its actions by id, and what it was before."""

    row: JobRow
    actions: dict[str, ActionRow]
    now: datetime
    before: Job

    def action(self, action_id: str, if_match: IfMatch = ANY_VERSION) -> ActionRow:
        """One of its actions. Raises `NotFound`, or `PreconditionFailed` when `if_match` names another version of the action."""
        found = self.actions.get(action_id)
        if found is None:
            raise action_not_found()
        if_match.check(found.version)
        return found

    def view(self) -> Job:
        """The job as it is now."""
        return _view(self.row, self.actions.values())


async def lock_for_update(
    session: AsyncSession, caller: Caller, job_id: str, if_match: IfMatch = ANY_VERSION, *, deleted: bool = False
) -> LockedJob:
    """Lock a job that the caller sees, for a change in this transaction.

    Raises `NotFound`, or `PreconditionFailed` when `if_match` names another version.
    """
    wanted = visible_to(caller, deleted=deleted).where(col(JobRow.id) == job_id).with_for_update()
    row = (await session.execute(wanted)).scalar_one_or_none()
    if row is None:
        raise job_not_found()
    if_match.check(row.version)
    # Deleted with the job, when it is deleted; else those that are not.
    of_job = visible_actions_to(caller, deleted=deleted).where(
        col(ActionRow.job_id) == job_id, col(ActionRow.deleted_at).is_not_distinct_from(row.deleted_at)
    )
    actions = {action.id: action for action in (await session.execute(of_job)).scalars()}
    return LockedJob(row, actions, datetime.now(UTC), _view(row, actions.values()))


async def save(
    session: AsyncSession,
    caller: Caller,
    locked: LockedJob,
    event_type: str,
    *,
    action_id: str | None = None,
    redacted: Collection[str] = (),
) -> Job:
    """Write what was altered: row, history and event; the job as it is now. Nothing is written when nothing was altered.

    `event_type` is one of `EVENT_TYPES`; `action_id` says which action an `action.…` event is about. Of the `unkept` fields history
    tells that they changed, and not from what to what.
    """
    row, before = locked.row, locked.before
    altered = _changed_actions(session, locked)
    changes = differences(before, locked.view())
    if not changes:
        return before
    if "status" in changes:
        row.status_changed_at = locked.now
    row.version += 1
    row.updated_at = locked.now
    job = locked.view()
    row.terms = as_tsvector(search_index.job_tokens(job, row.tenant_id))
    row.parts = search_index.job_parts(job)
    row.customer_key = search_index.customer_key(job.contact)
    for action in altered:
        state = view_action(action)
        action.terms = as_tsvector(search_index.action_tokens(state, row.tenant_id, row.merchant_id))
        action.parts = search_index.action_parts(state)
    if action_id is not None:
        was, is_now = _find_action(before, action_id), _find_action(job, action_id)
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
        type=event_type, tenant_id=row.tenant_id, subject=row.id, sequence=row.version, time=locked.now, data=data
    )
    session.add(
        HistoryRow(
            job_id=row.id,
            sequence=row.version,
            occurred_at=locked.now,
            event_id=event.id,
            type=event_type,
            actor=caller.actor,
            action_id=action_id,
            changed_fields=data.changed_fields,
            changes={name: change for name, change in changes.items() if name not in redacted},
        )
    )
    outbox.publish(session, event)
    await session.flush()
    return job


def differences(before: Job | ActionState | None, after: Job | ActionState | None) -> dict[str, Any]:
    """`{field: {"from", "to"}}` of the fields that differ, as JSON; of the actions in a job, those that differ."""
    was = {} if before is None else before.model_dump(mode="json", exclude=set(_DERIVED_FIELDS))
    is_now = {} if after is None else after.model_dump(mode="json", exclude=set(_DERIVED_FIELDS))
    found: dict[str, Any] = {
        name: {"from": was.get(name), "to": is_now.get(name)}
        for name in {**was, **is_now}
        if was.get(name) != is_now.get(name)
    }
    if "actions" in found:
        found["actions"] = _differing_actions(found["actions"]["from"] or [], found["actions"]["to"] or [])
    return found


def as_tsvector(found: Sequence[str]) -> Any:
    """Terms as the column holds them."""
    return func.array_to_tsvector(cast(list(found), ARRAY(Text)))


def _view(row: JobRow, actions: Iterable[ActionRow]) -> Job:
    kept = sorted((one for one in actions if one.deleted_at == row.deleted_at), key=lambda one: (one.position, one.id))
    return view_job(row, [view_action(action) for action in kept])


def _find_action(job: Job, action_id: str) -> ActionState | None:
    return next((action for action in job.actions if action.id == action_id), None)


def _changed_actions(session: AsyncSession, locked: LockedJob) -> list[ActionRow]:
    """The actions that are new or other than they were, each with its version raised."""
    known = {action.id: action for action in locked.before.actions}
    altered = []
    for action in locked.actions.values():
        if action.id not in known:
            session.add(action)
        elif differences(known[action.id], view_action(action)):
            action.version += 1
        else:
            continue
        action.updated_at = locked.now
        altered.append(action)
    return altered


def _differing_actions(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    known = {action["id"]: action for action in before}
    present = {action["id"]: action for action in after}
    return {
        "from": [action for action in before if _comparable(action) != _comparable(present.get(action["id"]))],
        "to": [action for action in after if _comparable(action) != _comparable(known.get(action["id"]))],
    }


def _comparable(action: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if action is None else {name: value for name, value in action.items() if name not in _DERIVED_FIELDS}


# One statement for all jobs and actions of a group. It inserts no job unless its locations are active at this very moment and the
# merchant's reference is free; references are taken in one order, so that two groups cannot wait for each other.
_INSERT_JOBS = text(
    """
    WITH asked AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS asked (
            id uuid, tenant_id uuid, merchant_id uuid, livemode boolean, reference_id text, status text, type text,
            location_id uuid, distribution_location_id uuid, scheduled_date date, timezone text, time_window jsonb,
            priority smallint, short_description text, contact jsonb, address jsonb, geo jsonb, balance_owed jsonb,
            instructions text, invoices text[], barcodes text[], tags text[], metadata jsonb, created_by text,
            created_at timestamptz, terms text[], parts text, customer_key text, event_id uuid
        )
    ), job AS (
        INSERT INTO jobs (
            id, tenant_id, merchant_id, livemode, reference_id, status, type, location_id, distribution_location_id,
            scheduled_date, timezone, time_window, priority, short_description, contact, address, geo, balance_owed,
            instructions, invoices, barcodes, tags, metadata, created_by, version, created_at, updated_at,
            status_changed_at, terms, parts, customer_key
        )
        SELECT
            asked.id, asked.tenant_id, asked.merchant_id, asked.livemode, asked.reference_id, asked.status, asked.type,
            asked.location_id, asked.distribution_location_id, asked.scheduled_date,
            coalesce(asked.timezone, place.timezone), asked.time_window, asked.priority, asked.short_description,
            asked.contact, asked.address, asked.geo, asked.balance_owed, asked.instructions, asked.invoices,
            asked.barcodes, asked.tags, asked.metadata, asked.created_by, 1, asked.created_at, asked.created_at,
            asked.created_at, array_to_tsvector(asked.terms), asked.parts, asked.customer_key
        FROM asked
        JOIN access_locations AS place ON place.location_id = asked.location_id AND place.active
        WHERE asked.distribution_location_id IS NULL OR EXISTS (
            SELECT FROM access_locations AS other
            WHERE other.location_id = asked.distribution_location_id AND other.active
        )
        ORDER BY asked.merchant_id, asked.livemode, asked.reference_id, asked.id
        ON CONFLICT (merchant_id, livemode, reference_id) WHERE reference_id IS NOT NULL AND deleted_at IS NULL
        DO NOTHING
        RETURNING id, tenant_id, merchant_id, livemode, timezone, created_by, created_at
    ), action AS (
        INSERT INTO actions (
            id, job_id, tenant_id, merchant_id, livemode, type, position, sku, description, quantity, unit, piece_count,
            value, weight_grams, volume_cubic_cm, handling_seconds, stop, invoice_number, barcode, external_reference_id,
            status, version, created_at, updated_at, terms, parts
        )
        SELECT
            asked.id, job.id, job.tenant_id, job.merchant_id, job.livemode, asked.type, asked.position, asked.sku,
            asked.description, asked.quantity, asked.unit, asked.piece_count, asked.value, asked.weight_grams,
            asked.volume_cubic_cm, asked.handling_seconds, asked.stop, asked.invoice_number, asked.barcode,
            asked.external_reference_id, asked.status, 1, job.created_at, job.created_at,
            array_to_tsvector(asked.terms), asked.parts
        FROM jsonb_to_recordset(CAST(:actions AS jsonb)) AS asked (
            id uuid, job_id uuid, type text, position integer, sku text, description text, quantity integer, unit text,
            piece_count integer, value jsonb, weight_grams bigint, volume_cubic_cm bigint, handling_seconds integer,
            stop jsonb, invoice_number text, barcode text, external_reference_id text, status text, terms text[],
            parts text
        )
        JOIN job ON job.id = asked.job_id
    ), history AS (
        INSERT INTO job_history (job_id, sequence, occurred_at, event_id, type, actor, changed_fields, changes)
        SELECT job.id, 1, job.created_at, asked.event_id, 'job.created', job.created_by, '{}', '{}'
        FROM job JOIN asked ON asked.id = job.id
    )
    SELECT id, timezone FROM job
    """
)
_NOT_WRITTEN = {"object", "actions", "allowed_transitions", "version", "updated_at", "status_reason", "assigned_to"}
_ACTION_NOT_WRITTEN = {"object", "version", "created_at", "updated_at", "outcome"}


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that may be written, and the id of the event that will tell of it."""

    caller: Caller
    job: Job
    event_id: str


def new_action(asked: ActionIn, job_id: str, job_type: JobType, place: int, now: datetime) -> ActionState:
    """The action that was asked for; the job's type and the next place where it says nothing else."""
    return ActionState(
        **asked.model_dump(exclude={"type", "position"}),
        id=new_id("act"),
        job_id=job_id,
        type=asked.type or job_type,
        position=asked.position or place,
        status="undetermined",
        version=1,
        created_at=now,
        updated_at=now,
    )


async def insert_jobs(session: AsyncSession, drafts: Sequence[NewJob]) -> dict[str, str]:
    """Write these jobs; the time zone of each that was written."""
    if not drafts:
        return {}
    actions = [_action_row(draft, action) for draft in drafts for action in draft.job.actions]
    written = await session.execute(
        _INSERT_JOBS,
        {
            "jobs": json.dumps([_job_row(draft) for draft in drafts], ensure_ascii=False),
            "actions": json.dumps(actions, ensure_ascii=False),
        },
    )
    return {from_uuid("job", row.id): row.timezone for row in written}


def _job_row(draft: NewJob) -> dict[str, Any]:
    """A job as the insert reads it."""
    job = draft.job
    distribution = job.distribution_location_id
    row = job.model_dump(mode="json", exclude_none=True, exclude=_NOT_WRITTEN)
    return row | {
        "id": str(to_uuid(job.id)),
        "tenant_id": str(known_uuid(draft.caller.tenant_id)),
        "merchant_id": str(known_uuid(job.merchant_id)),
        "location_id": str(known_uuid(job.location_id)),
        "distribution_location_id": str(known_uuid(distribution)) if distribution else None,
        "terms": search_index.job_tokens(job, draft.caller.tenant_id),
        "parts": search_index.job_parts(job),
        "customer_key": search_index.customer_key(job.contact),
        "event_id": str(to_uuid(draft.event_id)),
    }


def _action_row(draft: NewJob, action: ActionState) -> dict[str, Any]:
    row = action.model_dump(mode="json", exclude_none=True, exclude=_ACTION_NOT_WRITTEN)
    return row | {
        "id": str(to_uuid(action.id)),
        "job_id": str(to_uuid(action.job_id)),
        "terms": search_index.action_tokens(action, draft.caller.tenant_id, draft.job.merchant_id),
        "parts": search_index.action_parts(action),
    }
