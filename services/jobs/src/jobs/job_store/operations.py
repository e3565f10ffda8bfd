"""Insert jobs (`insert_jobs`), and change a job: lock it (`lock_for_update`), change its row and actions, write the result (`save`).

An operation is one change, however many fields it changes: it increments the version, writes one row of history and publishes one event
whose sequence is the version. So the events of a job are numbered without gaps, and an operation that changes nothing writes nothing.
Only the row of the job is locked; its actions are changed only while this lock is held.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import cast, func
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
from jobs.job_store.schemas import Action, ActionIn, Job
from jobs.job_store.tables import ActionRow, HistoryRow, JobRow
from shared.access.principals import Caller
from shared.api import ANY_VERSION, IfMatch
from shared.events.jobs import EVENTS, JobChange, JobEvent, JobState
from shared.ids import from_uuid, known_uuid, new_id, to_uuid
from shared.messaging import outbox
from shared.postgres.driver_connection import driver_of

EVENT_TYPES: Mapping[str, type[JobEvent]] = {event.type_name(): event for event in EVENTS}
_COMPUTED_FIELDS = frozenset({"allowed_transitions", "scheduled_window"})
"""Fields of the API's view of a job that follow from others; they are neither stored nor in events."""
_DERIVED_FIELDS = _COMPUTED_FIELDS | {"object", "version", "updated_at", "status_changed_at"}
"""Fields that are no change by themselves: they follow from others, or every change sets them."""


@dataclass(slots=True)
class LockedJob:
    """A job locked by this transaction: its row and its actions by id, both to be changed, and the job as it was before."""

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
        """The job with the changes made so far."""
        return _view(self.row, self.actions.values())


async def lock_for_update(
    session: AsyncSession, caller: Caller, job_id: str, if_match: IfMatch = ANY_VERSION, *, deleted: bool = False
) -> LockedJob:
    """Lock a job that the caller may see, for a change in this transaction.

    Raises `NotFound`, or `PreconditionFailed` if `if_match` names another version.
    """
    wanted = visible_to(caller, deleted=deleted).where(col(JobRow.id) == job_id).with_for_update()
    row = (await session.execute(wanted)).scalar_one_or_none()
    if row is None:
        raise job_not_found()
    if_match.check(row.version)
    # Of a deleted job: the actions that were deleted with it. Else: those that are not deleted.
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
    """Write the changes of a locked job, its history and its event; returns the job. Writes nothing if nothing changed.

    `event_type` is one of `EVENT_TYPES`. `action_id` is the action of an `action.…` event. For `redacted` fields the history says that
    they changed, but not their values.
    """
    row, before = locked.row, locked.before
    changed_actions = _changed_actions(session, locked)
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
    for action in changed_actions:
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
        job=JobState.model_validate(job.model_dump(exclude=set(_COMPUTED_FIELDS))),
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


def differences(before: Job | Action | None, after: Job | Action | None) -> dict[str, Any]:
    """`{field: {"from": …, "to": …}}` of the fields that differ, as JSON; `actions` contains only the actions that differ."""
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


def as_tsvector(tokens: Sequence[str]) -> Any:
    """The tokens as a value of the column `terms`."""
    return func.array_to_tsvector(cast(list(tokens), ARRAY(Text)))


def _view(row: JobRow, actions: Iterable[ActionRow]) -> Job:
    present = [action for action in actions if action.deleted_at == row.deleted_at]
    return view_job(row, [view_action(action) for action in sorted(present, key=lambda one: (one.position, one.id))])


def _find_action(job: Job, action_id: str) -> Action | None:
    return next((action for action in job.actions if action.id == action_id), None)


def _changed_actions(session: AsyncSession, locked: LockedJob) -> list[ActionRow]:
    """The actions that are new or changed. Increments the version of changed ones and adds new ones to the session."""
    known = {action.id: action for action in locked.before.actions}
    changed = []
    for action in locked.actions.values():
        if action.id not in known:
            session.add(action)
        elif differences(known[action.id], view_action(action)):
            action.version += 1
        else:
            continue
        action.updated_at = locked.now
        changed.append(action)
    return changed


def _differing_actions(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    known = {action["id"]: action for action in before}
    present = {action["id"]: action for action in after}
    return {
        "from": [action for action in before if _comparable(action) != _comparable(present.get(action["id"]))],
        "to": [action for action in after if _comparable(action) != _comparable(known.get(action["id"]))],
    }


def _comparable(action: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if action is None else {name: value for name, value in action.items() if name not in _DERIVED_FIELDS}


# One statement for all jobs and actions of a group. It skips a job whose locations are not active at this moment, or whose reference the
# merchant has used. It inserts references in one order, so that two groups cannot deadlock.
_INSERT_JOBS = """
    WITH input AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset($1::jsonb) AS input (
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
            input.id, input.tenant_id, input.merchant_id, input.livemode, input.reference_id, input.status, input.type,
            input.location_id, input.distribution_location_id, input.scheduled_date,
            coalesce(input.timezone, location.timezone), input.time_window, input.priority, input.short_description,
            input.contact, input.address, input.geo, input.balance_owed, input.instructions, input.invoices,
            input.barcodes, input.tags, input.metadata, input.created_by, 1, input.created_at, input.created_at,
            input.created_at, array_to_tsvector(input.terms), input.parts, input.customer_key
        FROM input
        JOIN access_locations AS location ON location.location_id = input.location_id AND location.active
        WHERE input.distribution_location_id IS NULL OR EXISTS (
            SELECT FROM access_locations AS distribution
            WHERE distribution.location_id = input.distribution_location_id AND distribution.active
        )
        ORDER BY input.merchant_id, input.livemode, input.reference_id, input.id
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
            input.id, job.id, job.tenant_id, job.merchant_id, job.livemode, input.type, input.position, input.sku,
            input.description, input.quantity, input.unit, input.piece_count, input.value, input.weight_grams,
            input.volume_cubic_cm, input.handling_seconds, input.stop, input.invoice_number, input.barcode,
            input.external_reference_id, input.status, 1, job.created_at, job.created_at,
            array_to_tsvector(input.terms), input.parts
        FROM jsonb_to_recordset($2::jsonb) AS input (
            id uuid, job_id uuid, type text, position integer, sku text, description text, quantity integer, unit text,
            piece_count integer, value jsonb, weight_grams bigint, volume_cubic_cm bigint, handling_seconds integer,
            stop jsonb, invoice_number text, barcode text, external_reference_id text, status text, terms text[],
            parts text
        )
        JOIN job ON job.id = input.job_id
    ), history AS (
        INSERT INTO job_history (job_id, sequence, occurred_at, event_id, type, actor, changed_fields, changes)
        SELECT job.id, 1, job.created_at, input.event_id, 'job.created', job.created_by, '{}', '{}'
        FROM job JOIN input ON input.id = job.id
    )
    SELECT id, timezone FROM job
"""
_NOT_WRITTEN = _COMPUTED_FIELDS | {"object", "actions", "version", "updated_at", "status_reason", "assigned_to"}
_ACTION_NOT_WRITTEN = {"object", "version", "created_at", "updated_at", "outcome"}


@dataclass(frozen=True, slots=True)
class NewJob:
    """A validated job that is not stored yet, and the id of its event."""

    caller: Caller
    job: Job
    event_id: str


def new_action(requested: ActionIn, job_id: str, job_type: JobType, position: int, now: datetime) -> Action:
    """The action of a request. `job_type` and `position` apply if the request has none."""
    return Action(
        **requested.model_dump(exclude={"type", "position"}),
        id=new_id("act"),
        job_id=job_id,
        type=requested.type or job_type,
        position=requested.position or position,
        status="undetermined",
        version=1,
        created_at=now,
        updated_at=now,
    )


async def insert_jobs(session: AsyncSession, drafts: Sequence[NewJob]) -> dict[str, str]:
    """Insert these jobs; returns the time zone of each job that was inserted, by id.

    A job is skipped if a location is not active or the merchant has another job with its reference.
    """
    if not drafts:
        return {}
    actions = [_action_row(draft, action) for draft in drafts for action in draft.job.actions]
    inserted = await (await driver_of(session)).fetch(
        _INSERT_JOBS,
        json.dumps([_job_row(draft) for draft in drafts], ensure_ascii=False),
        json.dumps(actions, ensure_ascii=False),
    )
    return {from_uuid("job", job_id): timezone for job_id, timezone in inserted}


def _job_row(draft: NewJob) -> dict[str, Any]:
    """A job as `_INSERT_JOBS` reads it."""
    job = draft.job
    distribution = job.distribution_location_id
    row = job.model_dump(mode="json", exclude_none=True, exclude=set(_NOT_WRITTEN))
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


def _action_row(draft: NewJob, action: Action) -> dict[str, Any]:
    row = action.model_dump(mode="json", exclude_none=True, exclude=_ACTION_NOT_WRITTEN)
    return row | {
        "id": str(to_uuid(action.id)),
        "job_id": str(to_uuid(action.job_id)),
        "terms": search_index.action_tokens(action, draft.caller.tenant_id, draft.job.merchant_id),
        "parts": search_index.action_parts(action),
    }
